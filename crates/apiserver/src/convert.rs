//! Objects that are one thing under two names: events of two groups, autoscalers of two versions.
