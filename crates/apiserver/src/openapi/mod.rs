//! OpenAPI documents, version 2 and 3, of what is served.
