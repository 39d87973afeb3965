//! Tensors as the Open Inference Protocol V2 writes them: `{"name","shape","datatype","data"}`, with flat or nested data.
//!
//! Contract: KServe "Open Inference Protocol", REST, `$tensor_data`: the data is flattened in row-major order, or nested as the shape
//! says; the shape's first dimension is the batch. MLServer sends a data frame as one tensor a column (`content_type: pd`), other
//! clients send one tensor with all features. Seldon v1's `tensor` has `shape` and `values`.

use serde_json::{Map, Value};

use super::super::{MAX_ROWS, RejectReason, Rejection, excerpt};
use super::fault;

/// Rows of tensors.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::decode) enum Rows {
    /// One tensor a feature: objects.
    Named(Vec<Value>),
    /// One tensor with all features: arrays.
    Positional(Vec<Value>),
}

/// Whether an object is a tensor.
pub(in crate::decode) fn is_one(map: &Map<String, Value>) -> bool {
    map.get("data").is_some_and(Value::is_array)
        && (map.contains_key("datatype") || (map.contains_key("shape") && map.contains_key("name")))
}

/// The rows of tensors; `known` tells the names of features.
///
/// # Errors
/// Shapes that contradict the data or each other, and tensors of which some are features and some are not.
pub(in crate::decode) fn read(tensors: &[Value], known: impl Fn(&str) -> bool) -> Result<Rows, Rejection> {
    let name = |tensor: &Value| tensor.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let [one] = tensors
        && !known(&name(one))
    {
        return rows_of(one).map(Rows::Positional);
    }
    if !tensors.iter().any(|tensor| known(&name(tensor))) {
        let names: Vec<String> = tensors.iter().take(2).map(|tensor| excerpt(&name(tensor)).escape_debug().to_string()).collect();
        return Err(fault(format_args!(
            "{} tensors called '{}' and so on, and no feature of the model is called so",
            tensors.len(),
            names.join("', '")
        )));
    }
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    for (nth, tensor) in tensors.iter().enumerate() {
        let name = name(tensor);
        let values = rows_of(tensor)?;
        if nth == 0 {
            rows = vec![Map::new(); values.len()];
        }
        if values.len() != rows.len() {
            return Err(fault(format_args!(
                "tensor '{}' has {} rows, where the first has {}",
                excerpt(&name).escape_debug(),
                values.len(),
                rows.len()
            )));
        }
        for (row, value) in rows.iter_mut().zip(values) {
            if row.insert(name.clone(), single(value)).is_some() {
                return Err(fault(format_args!("two tensors are called '{}'", excerpt(&name).escape_debug())));
            }
        }
    }
    Ok(Rows::Named(rows.into_iter().map(Value::Object).collect()))
}

/// A value out of a list that holds it alone.
fn single(value: Value) -> Value {
    match value {
        Value::Array(mut one) if one.len() == 1 => single(one.remove(0)),
        value => value,
    }
}

/// The rows of one tensor: its data by the first dimension of the shape.
pub(in crate::decode) fn rows_of(tensor: &Value) -> Result<Vec<Value>, Rejection> {
    let Some(data) = tensor.get("data").and_then(Value::as_array) else {
        return Err(fault("a tensor has no array called data; binary tensors are not read"));
    };
    by_shape(data, tensor.get("shape"))
}

/// The rows of Seldon's tensor.
pub(in crate::decode) fn seldon(tensor: &Value) -> Result<Vec<Value>, Rejection> {
    let Some(data) = tensor.get("values").and_then(Value::as_array) else {
        return Err(fault("a tensor has no array called values"));
    };
    by_shape(data, tensor.get("shape"))
}

fn by_shape(data: &[Value], shape: Option<&Value>) -> Result<Vec<Value>, Rejection> {
    let nested = data.iter().any(Value::is_array);
    let Some(shape) = shape else {
        return Ok(data.to_vec());
    };
    let sizes: Option<Vec<u64>> = shape.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(Value::as_u64).collect();
    let sizes = sizes.ok_or_else(|| fault("the shape of a tensor is no list of sizes"))?;
    let Some((&first, rest)) = sizes.split_first() else { return Ok(data.to_vec()) };
    let rows = usize::try_from(first).ok().filter(|rows| *rows <= MAX_ROWS);
    let rows =
        rows.ok_or_else(|| Rejection::new(RejectReason::TooLarge, format_args!("more than {MAX_ROWS} rows in one message")))?;
    let width = rest.iter().try_fold(1_u64, |all, size| all.checked_mul(*size)).and_then(|width| usize::try_from(width).ok());
    let wrong = || fault(format_args!("a tensor of the shape {sizes:?} has {} values", data.len()));
    if nested {
        return if data.len() == rows { Ok(data.to_vec()) } else { Err(wrong()) };
    }
    let width = width.filter(|width| rows.checked_mul(*width) == Some(data.len())).ok_or_else(wrong)?;
    if rest.is_empty() {
        return Ok(data.to_vec());
    }
    if width == 0 {
        return Err(wrong());
    }
    Ok(data.chunks(width).map(|row| Value::Array(row.to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn known(name: &str) -> bool {
        name == "age" || name == "sex"
    }

    #[test]
    fn one_tensor_a_feature_gives_named_rows() {
        let tensors = [
            json!({"name":"sex","shape":[2,1],"datatype":"BYTES","data":["M","F"]}),
            json!({"name":"age","shape":[2],"datatype":"INT64","data":[39,50]}),
        ];
        assert_eq!(read(&tensors, known), Ok(Rows::Named(vec![json!({"age":39,"sex":"M"}), json!({"age":50,"sex":"F"})])));
    }

    #[test]
    fn one_tensor_with_all_features_is_cut_by_its_shape() {
        let rows = Ok(Rows::Positional(vec![json!([39, "M"]), json!([50, "F"])]));
        for data in [json!([39, "M", 50, "F"]), json!([[39, "M"], [50, "F"]])] {
            assert_eq!(read(&[json!({"name":"input-0","shape":[2,2],"datatype":"FP64","data":data})], known), rows);
        }
    }

    #[test]
    fn shapes_that_contradict_the_data_are_faults() {
        let tensor = |name: &str, shape: Value, data: Value| json!({"name":name,"shape":shape,"datatype":"FP64","data":data});
        for wrong in [
            vec![tensor("input-0", json!([2, 2]), json!([1, 2, 3]))],
            vec![tensor("input-0", json!([3]), json!([[1], [2]]))],
            vec![tensor("input-0", json!([-1]), json!([1]))],
            vec![tensor("input-0", json!([u64::MAX, u64::MAX]), json!([1]))],
            vec![tensor("age", json!([2]), json!([1, 2])), tensor("sex", json!([1]), json!([1]))],
            vec![tensor("age", json!([1]), json!([1])), tensor("age", json!([1]), json!([1]))],
            vec![tensor("x", json!([1]), json!([1])), tensor("y", json!([1]), json!([1]))],
        ] {
            assert!(read(&wrong, known).is_err(), "{wrong:?}");
        }
    }
}
