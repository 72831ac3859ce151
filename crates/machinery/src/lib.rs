//! Pure algorithms on objects: selectors, patches, server-side apply, schemas, JSONPath, tables, protobuf transcoding.
//!
//! Nothing here waits, asks the time, draws a random number or reads the environment: data in, data out.

pub mod admission;
pub mod apply;
pub mod authentication;
pub mod cel;
pub mod conversion;
pub mod defaulting;
pub mod diff;
pub mod field;
pub mod jsonpath;
pub mod name;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod services;
pub mod strategy;
pub mod structural;
pub mod table;
pub mod template;
pub mod validation;
