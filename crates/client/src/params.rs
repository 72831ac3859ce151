//! Parameters of requests as data, and how they are written into a query or a body.

use api::{LabelSelector, Operator, Propagation};
use serde_json::{Map, Value, json};

/// What a list selects, in the API's own selector syntax; empty selects everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListParams {
    /// Label selector: `app=web,tier in (a,b)`. See [`label_query`].
    pub labels: String,
    /// Field selector: `metadata.name=x`.
    pub fields: String,
    /// Objects per page; 0 means the default page. All pages are read either way.
    pub limit: usize,
}

impl ListParams {
    /// By label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: selector.into(), ..Self::default() }
    }

    /// By field selector.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: selector.into(), ..Self::default() }
    }
}

/// What must be true of the object for a delete to happen; otherwise the server answers with a conflict.
pub type Precondition = Option<String>;

/// How an object is deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteParams {
    /// The server's default for the kind when absent.
    pub propagation: Option<Propagation>,
    /// Delete only this incarnation of the object.
    pub uid: Precondition,
    /// Delete only this version of the object.
    pub resource_version: Precondition,
}

impl DeleteParams {
    /// Deletes only the object with this uid.
    pub fn only(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }

    /// `DeleteOptions`, or nothing when all is left to the server.
    pub(crate) fn body(&self) -> Option<Value> {
        if *self == Self::default() {
            return None;
        }
        let mut options = Map::new();
        options.insert("apiVersion".into(), "v1".into());
        options.insert("kind".into(), "DeleteOptions".into());
        if let Some(propagation) = self.propagation {
            options.insert("propagationPolicy".into(), propagation.as_str().into());
        }
        let mut preconditions = Map::new();
        if let Some(uid) = &self.uid {
            preconditions.insert("uid".into(), uid.clone().into());
        }
        if let Some(version) = &self.resource_version {
            preconditions.insert("resourceVersion".into(), version.clone().into());
        }
        if !preconditions.is_empty() {
            options.insert("preconditions".into(), preconditions.into());
        }
        Some(options.into())
    }
}

/// A partial write.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// JSON merge patch (RFC 7386).
    Merge(Value),
    /// JSON patch (RFC 6902).
    Json(Value),
    /// Strategic merge patch; built-in kinds only.
    Strategic(Value),
    /// Server-side apply under the client's field manager.
    Apply {
        /// The fields that the manager owns; must have apiVersion and kind.
        body: Value,
        /// Take fields that others own.
        force: bool,
    },
}

impl Patch {
    /// Server-side apply that takes fields from other managers, as a controller does.
    pub fn apply(body: impl Into<Value>) -> Self {
        Self::Apply { body: body.into(), force: true }
    }

    /// Sets the finalizers, and only if the object is still at this version.
    pub fn finalizers(finalizers: &[&str], resource_version: &str) -> Self {
        Self::Merge(json!({"metadata": {"finalizers": finalizers, "resourceVersion": resource_version}}))
    }

    pub(crate) const fn content_type(&self) -> &'static str {
        match self {
            Self::Merge(_) => "application/merge-patch+json",
            Self::Json(_) => "application/json-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Apply { .. } => "application/apply-patch+yaml",
        }
    }

    pub(crate) const fn body(&self) -> &Value {
        match self {
            Self::Merge(body) | Self::Json(body) | Self::Strategic(body) | Self::Apply { body, .. } => body,
        }
    }
}

/// A `LabelSelector` in the syntax of the `labelSelector` parameter.
///
/// # Errors
/// If an operator is not one of the API's, with a text for the user.
pub fn label_query(selector: &LabelSelector) -> Result<String, String> {
    let mut terms: Vec<String> = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for requirement in &selector.match_expressions {
        let key = &requirement.key;
        let values = requirement.values.join(",");
        terms.push(match Operator::parse(&requirement.operator) {
            Some(Operator::In) => format!("{key} in ({values})"),
            Some(Operator::NotIn) => format!("{key} notin ({values})"),
            Some(Operator::Exists) => key.clone(),
            Some(Operator::DoesNotExist) => format!("!{key}"),
            None => return Err(format!("{:?} is not a valid label selector operator", requirement.operator)),
        });
    }
    Ok(terms.join(","))
}

/// A query string from parameters; those with an empty value are left out.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        percent_encode(value, &mut text);
    }
    text
}

fn percent_encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                into.push('%');
                into.push(char::from(HEX[usize::from(byte >> 4)]));
                into.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::LabelSelectorRequirement;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query(&[]), "");
        assert_eq!(query(&[("a", "")]), "");
        assert_eq!(query(&[("a", "x y"), ("b", ""), ("c", "k in (a,ü)")]), "?a=x%20y&c=k%20in%20%28a%2C%C3%BC%29");
    }

    #[test]
    fn selectors_as_text() {
        let requirement = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let selector = LabelSelector {
            match_labels: [("app".to_owned(), "web".to_owned())].into(),
            match_expressions: vec![
                requirement("tier", "In", &["a", "b"]),
                requirement("zone", "NotIn", &["x"]),
                requirement("gold", "Exists", &[]),
                requirement("lead", "DoesNotExist", &[]),
            ],
        };
        assert_eq!(label_query(&selector).unwrap(), "app=web,tier in (a,b),zone notin (x),gold,!lead");
        assert_eq!(label_query(&LabelSelector::default()).unwrap(), "");
        let odd = LabelSelector { match_expressions: vec![requirement("a", "Gt", &["1"])], ..Default::default() };
        assert!(label_query(&odd).unwrap_err().contains("Gt"));
    }

    #[test]
    fn delete_options() {
        assert_eq!(DeleteParams::default().body(), None);
        assert_eq!(DeleteParams::only("u").body().unwrap()["preconditions"]["uid"], "u");
        let params = DeleteParams { propagation: Some(Propagation::Foreground), ..Default::default() };
        assert_eq!(params.body().unwrap()["propagationPolicy"], "Foreground");
    }
}
