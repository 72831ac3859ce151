//! Conditions: what is true of an object, since when and why (`metav1.Condition`).

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// Truth of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One condition in a `.status.conditions` list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: ConditionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default)]
    pub last_transition_time: Option<Timestamp>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

impl Condition {
    /// A condition without a time: [`set_condition`] gives it one.
    pub fn new(
        type_: impl Into<String>,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.into(),
            status,
            observed_generation: None,
            last_transition_time: None,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// The same condition as seen at a generation of its object.
    #[must_use]
    pub fn observed(mut self, generation: i64) -> Self {
        self.observed_generation = Some(generation);
        self
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// Puts `condition` into `conditions`. Its transition time becomes `now` only when the status changes, so that a
/// reconcile which finds the same truth again writes nothing. Returns whether anything changed.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition, now: Timestamp) -> bool {
    match conditions.iter_mut().find(|held| held.type_ == condition.type_) {
        Some(held) => {
            condition.last_transition_time =
                if held.status == condition.status { held.last_transition_time.or(Some(now)) } else { Some(now) };
            let changed = *held != condition;
            *held = condition;
            changed
        }
        None => {
            condition.last_transition_time = Some(now);
            conditions.push(condition);
            true
        }
    }
}
