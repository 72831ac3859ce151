//! Documents that were asked for lately.

use crate::discovery::Document;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Bytes of documents that are kept: enough for the one big document of version 2 in both encodings and those of the
/// groups that a client reads one after the other; making one again takes some milliseconds.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Documents by what they were made from, the least lately used ones dropped first.
#[derive(Debug, Default)]
pub struct Cache {
    /// The latest at the end.
    documents: Mutex<VecDeque<(String, Document)>>,
}

impl Cache {
    /// The document of a key, made if it is not held. Two who ask at once may both make it; it is the same.
    pub(super) fn get(&self, key: &str, make: impl FnOnce() -> Document) -> Document {
        {
            let mut documents = self.documents.lock();
            if let Some(at) = documents.iter().position(|(held, _)| held == key)
                && let Some(found) = documents.remove(at)
            {
                let document = found.1.clone();
                documents.push_back(found);
                return document;
            }
        }
        let document = make();
        let mut documents = self.documents.lock();
        documents.push_back((key.to_owned(), document.clone()));
        let mut bytes: usize = documents.iter().map(|(_, document)| document.body.len()).sum();
        while bytes > MAX_BYTES
            && let Some((_, dropped)) = documents.pop_front()
        {
            bytes -= dropped.body.len();
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: usize) -> Document {
        Document { body: vec![b' '; bytes].into(), etag: String::new() }
    }

    #[test]
    fn drops_what_was_not_asked_for_lately() {
        let cache = Cache::default();
        cache.get("a", || document(MAX_BYTES / 2));
        cache.get("b", || document(MAX_BYTES / 2));
        cache.get("a", || unreachable!("a is held"));
        cache.get("c", || document(1));
        cache.get("a", || unreachable!("a was asked for later than b"));
        assert_eq!(cache.get("b", || document(7)).body.len(), 7);
        cache.get("too large", || document(MAX_BYTES + 1));
        assert!(cache.documents.lock().is_empty());
    }
}
