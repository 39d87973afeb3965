//! The sources of the service as one [`Feed`]: a consumer group of Kafka, posted records, or both.

use std::time::Duration;

use super::feed::{Bounds, Commit, Feed, FeedError, FeedEvent, Partition, RecordBatch, Start};
use super::http::HttpFeed;
use super::kafka::KafkaFeed;

/// What the service reads.
pub struct Combined {
    kafka: Option<KafkaFeed>,
    http: Option<HttpFeed>,
}

// === impl Combined ===

impl Combined {
    /// These sources, as far as they are there.
    pub fn new(kafka: Option<KafkaFeed>, http: Option<HttpFeed>) -> Self {
        Self { kafka, http }
    }

    /// What is posted, and all others.
    fn split<T: Clone>(&self, all: &[T], partition: impl Fn(&T) -> &Partition) -> (Vec<T>, Vec<T>) {
        all.iter().cloned().partition(|one| self.http.as_ref().is_some_and(|http| http.has(partition(one))))
    }
}

impl Feed for Combined {
    fn poll(&mut self, into: &mut RecordBatch, limit: usize, wait: Duration) -> Result<(), FeedError> {
        if let Some(http) = &mut self.http {
            // With a group beside it, the group does the waiting, and a post waits for a turn at most.
            http.poll(into, limit, if self.kafka.is_some() { Duration::ZERO } else { wait })?;
        }
        match &mut self.kafka {
            Some(kafka) => kafka.poll(into, limit, if into.is_empty() { wait } else { Duration::ZERO }),
            None => Ok(()),
        }
    }

    fn next_event(&mut self) -> Option<FeedEvent> {
        let of_http = self.http.as_mut().and_then(Feed::next_event);
        of_http.or_else(|| self.kafka.as_mut().and_then(Feed::next_event))
    }

    fn bounds(&mut self, partitions: &[Partition]) -> Result<Vec<Bounds>, FeedError> {
        let (posted, others) = self.split(partitions, |partition| partition);
        let mut all = match &mut self.http {
            Some(http) => http.bounds(&posted)?,
            None => Vec::new(),
        };
        if let Some(kafka) = self.kafka.as_mut().filter(|_| !others.is_empty()) {
            all.extend(kafka.bounds(&others)?);
        }
        Ok(all)
    }

    fn all_partitions(&mut self) -> Result<Vec<Partition>, FeedError> {
        let mut all = match &mut self.http {
            Some(http) => http.all_partitions()?,
            None => Vec::new(),
        };
        if let Some(kafka) = &mut self.kafka {
            all.extend(kafka.all_partitions()?);
        }
        Ok(all)
    }

    fn begin(&mut self, partitions: &[Partition], start: &Start) -> Result<(), FeedError> {
        // One assignment is of one source.
        match &mut self.http {
            Some(http) if partitions.iter().any(|partition| http.has(partition)) => http.begin(partitions, start),
            _ => self.kafka.as_mut().map_or(Ok(()), |kafka| kafka.begin(partitions, start)),
        }
    }

    fn release(&mut self, partitions: &[Partition]) {
        // Posts are never taken away.
        if let Some(kafka) = &mut self.kafka {
            kafka.release(partitions);
        }
    }

    fn commit(&mut self, positions: &[(Partition, i64)], how: Commit) -> Result<(), FeedError> {
        let (_, others) = self.split(positions, |(partition, _)| partition);
        self.kafka.as_mut().map_or(Ok(()), |kafka| kafka.commit(&others, how))
    }

    fn pause(&mut self, partitions: &[Partition]) {
        let (posted, others) = self.split(partitions, |partition| partition);
        if let Some(http) = &mut self.http {
            http.pause(&posted);
        }
        if let Some(kafka) = self.kafka.as_mut().filter(|_| !others.is_empty()) {
            kafka.pause(&others);
        }
    }

    fn resume(&mut self, partitions: &[Partition]) {
        let (posted, others) = self.split(partitions, |partition| partition);
        if let Some(http) = &mut self.http {
            http.resume(&posted);
        }
        if let Some(kafka) = self.kafka.as_mut().filter(|_| !others.is_empty()) {
            kafka.resume(&others);
        }
    }

    fn rest(&mut self, into: &mut RecordBatch, limit: usize) {
        if let Some(http) = &mut self.http {
            http.rest(into, limit);
        }
    }

    fn close(&mut self, within: Duration) {
        if let Some(http) = &mut self.http {
            http.close(within);
        }
        if let Some(kafka) = &mut self.kafka {
            kafka.close(within);
        }
    }
}
