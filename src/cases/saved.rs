//! Filters with a name, so that a person finds the same queue again.

use serde::Serialize;
use serde_json::json;
use sqlx::Row;

use super::list::CaseFilter;
use super::{CaseError, Cases, id_of};
use crate::audit::{Actor, Entry};
use crate::clock;
use crate::store::StoreError;

/// Most filters of a person.
const MAX_FILTERS: i64 = 100;
/// Longest name in bytes.
const MAX_NAME: usize = 100;

/// A filter with a name.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SavedFilter {
    /// Id: a function of owner and name, so that saving a name again replaces its filter.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Name.
    pub name: String,
    /// Filter.
    pub filter: CaseFilter,
}

impl Cases {
    /// Saves a filter under a name; an earlier one of that name is replaced.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] for a name that is empty or too long, or too many filters; or the database.
    pub async fn save_filter(&self, name: &str, filter: &CaseFilter, who: &Actor) -> Result<SavedFilter, CaseError> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
            return Err(CaseError::Invalid(format!("a name has 1 to {MAX_NAME} bytes")));
        }
        let id = id_of('f', &[&who.name, name]);
        let content = serde_json::to_string(filter).map_err(|error| CaseError::Invalid(error.to_string()))?;
        let mut transaction = self.database().begin().await?;
        let others = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM saved_filters WHERE owner = $1 AND id <> $2");
        let others = others.bind(&who.name).bind(&id).fetch_one(&mut *transaction).await.map_err(StoreError::from)?;
        if others >= MAX_FILTERS {
            return Err(CaseError::Invalid(format!("you have {MAX_FILTERS} filters; remove one first")));
        }
        let insert = "INSERT INTO saved_filters (id, owner, name, filter, created_at) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT (id) DO UPDATE SET filter = excluded.filter";
        let insert = sqlx::query(insert).bind(&id).bind(&who.name).bind(name).bind(content).bind(clock::now().micros());
        insert.execute(&mut *transaction).await.map_err(StoreError::from)?;
        let subject = format!("filter:{id}");
        let entry = Entry { actor: who.clone(), action: "filter.save", subject, detail: json!({"name": name}) };
        self.audit().append_in(&mut transaction, &entry).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(SavedFilter { id, owner: who.name.clone(), name: name.to_owned(), filter: filter.clone() })
    }

    /// The filters of a person, by name.
    ///
    /// # Errors
    /// The database.
    pub async fn saved_filters(&self, who: &Actor) -> Result<Vec<SavedFilter>, StoreError> {
        let select = sqlx::query("SELECT id, name, filter FROM saved_filters WHERE owner = $1 ORDER BY name");
        let rows = select.bind(&who.name).fetch_all(self.database().pool()).await?;
        let saved = |row: &sqlx::any::AnyRow| {
            let (id, name, content): (String, String, String) = (row.try_get("id")?, row.try_get("name")?, row.try_get("filter")?);
            let filter = serde_json::from_str(&content).map_err(|error| StoreError::Damaged(format!("filter {id}: {error}")))?;
            Ok(SavedFilter { id, owner: who.name.clone(), name, filter })
        };
        rows.iter().map(saved).collect()
    }

    /// Removes a filter of a person.
    ///
    /// # Errors
    /// [`CaseError::NotFound`], or the database.
    pub async fn remove_filter(&self, id: &str, who: &Actor) -> Result<(), CaseError> {
        let mut transaction = self.database().begin().await?;
        let delete = sqlx::query("DELETE FROM saved_filters WHERE id = $1 AND owner = $2").bind(id).bind(&who.name);
        if delete.execute(&mut *transaction).await.map_err(StoreError::from)?.rows_affected() == 0 {
            return Err(CaseError::NotFound(format!("filter {id} of {}", who.name)));
        }
        let entry = Entry { actor: who.clone(), action: "filter.remove", subject: format!("filter:{id}"), detail: json!({}) };
        self.audit().append_in(&mut transaction, &entry).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }
}
