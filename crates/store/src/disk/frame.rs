//! The bytes of a log file, as pure functions.
//!
//! ```text
//! file   = header (32) frame* zeros
//! header = "ks-log" version kind | first or last revision | crc | zeros
//! frame  = magic | crc | length | count | first revision | last revision | record* | padding to 8
//! record = length | revision | previous | created | change | 4 lengths | space resource namespace name value
//! ```
//! All numbers are little-endian. A frame is one append: it is whole or it never happened. Its checksum covers its place
//! in the file, so that a frame in the wrong place is no frame.

use super::crc::crc32c;
use crate::engine::Record;
use crate::entry::Change;
use crate::key::{Collection, Key, Revision};
use bytes::Bytes;
use std::sync::Arc;

/// Size of a file's header, in bytes.
pub(super) const FILE_HEADER: u64 = 32;
/// Size of a frame's header, in bytes.
pub(super) const FRAME_HEADER: usize = 32;
/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Largest frame that a reader believes in: far above what a writer makes (`APPEND_BYTES` and one value), so that a
/// damaged length does not ask for all memory.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"ksfr";
const FILE_MAGIC: [u8; 6] = *b"ks-log";
const VERSION: u8 = 1;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What compaction left of everything up to a revision.
    Base,
    /// Every commit from a revision on.
    Tail,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Base => b'b',
            Self::Tail => b't',
        }
    }
}

/// The first bytes of a file.
pub(super) fn file_header(kind: Kind, revision: Revision) -> [u8; FILE_HEADER as usize] {
    let mut header = [0; FILE_HEADER as usize];
    header[..6].copy_from_slice(&FILE_MAGIC);
    header[6] = VERSION;
    header[7] = kind.byte();
    header[8..16].copy_from_slice(&revision.0.to_le_bytes());
    let crc = crc32c(0, &header[..16]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A frame's header, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    crc: u32,
    pub(super) payload: usize,
    pub(super) count: u32,
    pub(super) first: Revision,
    pub(super) last: Revision,
}

impl Header {
    /// Reads a header; nothing if these bytes do not begin a frame.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER]) -> Option<Self> {
        let payload = u32_at(bytes, 8)? as usize;
        let header = Self {
            crc: u32_at(bytes, 4)?,
            payload,
            count: u32_at(bytes, 12)?,
            first: Revision(u64_at(bytes, 16)?),
            last: Revision(u64_at(bytes, 24)?),
        };
        (bytes[..4] == MAGIC && payload <= MAX_PAYLOAD).then_some(header)
    }

    /// Length of the whole frame, padding included.
    pub(super) fn frame_len(&self) -> usize {
        (FRAME_HEADER + self.payload).next_multiple_of(ALIGN)
    }

    /// Whether header and payload are what was written at `offset`.
    pub(super) fn proves(&self, bytes: &[u8; FRAME_HEADER], payload: &[u8], offset: u64) -> bool {
        let crc = crc32c(crc32c(crc32c(0, &offset.to_le_bytes()), &bytes[8..]), payload);
        crc == self.crc && payload.len() == self.payload
    }
}

/// Puts a frame together in a buffer that is used again and again.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
    first: Revision,
    last: Revision,
}

/// Larger buffers are given back after use.
const KEEP_BUFFER: usize = 256 << 10;

impl Builder {
    fn begin(&mut self, revision: Revision) {
        if self.count == 0 {
            self.bytes.clear();
            self.bytes.resize(FRAME_HEADER, 0);
            self.first = revision;
        }
        self.count += 1;
        self.last = revision;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes gathered so far.
    pub(super) fn len(&self) -> usize {
        if self.is_empty() { 0 } else { self.bytes.len() }
    }

    /// Adds a record.
    pub(super) fn record(&mut self, record: &Record) {
        self.begin(record.revision);
        let Record { revision, previous, created, change, key, value } = record;
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        for number in [revision, previous, created] {
            self.bytes.extend(number.0.to_le_bytes());
        }
        self.bytes.push(match change {
            Change::Created => 1,
            Change::Updated => 2,
            Change::Deleted => 3,
        });
        let parts = [&key.collection.space, &key.collection.resource, &key.namespace, &key.name];
        for part in parts {
            let len = u16::try_from(part.len()).expect("the store refuses longer names");
            self.bytes.extend(len.to_le_bytes());
        }
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.extend_from_slice(value);
        let len = u32::try_from(self.bytes.len() - start - 4).expect("the store refuses larger values");
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Adds a record that is encoded already.
    pub(super) fn raw(&mut self, revision: Revision, record: &[u8]) {
        self.begin(revision);
        self.bytes.extend_from_slice(record);
    }

    /// Makes this the footer of a base file: it has no records, and says how many there are before it.
    pub(super) fn footer(&mut self, records: u64, upto: Revision) {
        self.begin(Revision(records));
        self.count = 0;
        self.last = upto;
    }

    /// The finished frame for a place in a file.
    pub(super) fn finish(&mut self, offset: u64) -> &[u8] {
        let payload = self.bytes.len() - FRAME_HEADER;
        let len = u32::try_from(payload).expect("the store bounds its batches");
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[8..12].copy_from_slice(&len.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&self.last.0.to_le_bytes());
        let crc = crc32c(crc32c(0, &offset.to_le_bytes()), &self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        &self.bytes
    }

    /// Makes it ready for the following frame.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BUFFER);
    }
}

/// One encoded record and its revision; nothing if the bytes are none, else also the bytes behind it.
pub(super) fn split_record(payload: &[u8]) -> Option<(Revision, &[u8], &[u8])> {
    let len = u32_at(payload, 0)? as usize + 4;
    let (record, rest) = payload.split_at_checked(len)?;
    Some((Revision(u64_at(record, 4)?), record, rest))
}

/// Reads an encoded record; nothing if the bytes are none. Strings are shared with the record before where they are the
/// same, as they mostly are.
pub(super) fn parse_record(record: &[u8], before: Option<&Key>) -> Option<Record> {
    let change = match record.get(28)? {
        1 => Change::Created,
        2 => Change::Updated,
        3 => Change::Deleted,
        _ => return None,
    };
    let mut parts = [""; 4];
    let mut at = 37;
    for (index, part) in parts.iter_mut().enumerate() {
        let len = usize::from(u16::from_le_bytes(array_at(record, 29 + 2 * index)?));
        *part = std::str::from_utf8(record.get(at..at + len)?).ok()?;
        at += len;
    }
    let [space, resource, namespace, name] = parts;
    let share = |text: &str, before: Option<&Arc<str>>| match before {
        Some(before) if **before == *text => Arc::clone(before),
        _ => Arc::from(text),
    };
    let collection = Collection {
        space: share(space, before.map(|key| &key.collection.space)),
        resource: share(resource, before.map(|key| &key.collection.resource)),
    };
    let namespace = share(namespace, before.map(|key| &key.namespace));
    Some(Record {
        revision: Revision(u64_at(record, 4)?),
        previous: Revision(u64_at(record, 12)?),
        created: Revision(u64_at(record, 20)?),
        change,
        key: Key { collection, namespace, name: Arc::from(name) },
        value: Bytes::copy_from_slice(record.get(at..)?),
    })
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64, name: &str, value: &'static [u8]) -> Record {
        Record {
            revision: Revision(revision),
            previous: Revision(3),
            created: Revision(2),
            change: Change::Updated,
            key: Key::new(Collection::new("wds1", "deployments.apps"), "default", name),
            value: Bytes::from_static(value),
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written_and_only_there() {
        let records = [record(7, "a", b"{}"), record(8, "", b""), record(9, "c", &[0; 1000])];
        let mut builder = Builder::default();
        records.iter().for_each(|record| builder.record(record));
        let frame = builder.finish(64).to_vec();
        assert_eq!(frame.len() % ALIGN, 0);
        let head = array_at(&frame, 0).unwrap();
        let header = Header::parse(&head).unwrap();
        assert_eq!((header.count, header.first, header.last), (3, Revision(7), Revision(9)));
        assert_eq!(header.frame_len(), frame.len());
        let payload = &frame[FRAME_HEADER..FRAME_HEADER + header.payload];
        assert!(header.proves(&head, payload, 64));
        assert!(!header.proves(&head, payload, 72), "a frame in another place is none");
        let mut rest = payload;
        for expected in &records {
            let (revision, bytes, more) = split_record(rest).unwrap();
            assert_eq!(revision, expected.revision);
            assert_eq!(parse_record(bytes, None).as_ref(), Some(expected));
            rest = more;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn every_bit_counts() {
        let mut builder = Builder::default();
        builder.record(&record(7, "a", b"{}"));
        let frame = builder.finish(0).to_vec();
        let unpadded = FRAME_HEADER + Header::parse(&array_at(&frame, 0).unwrap()).unwrap().payload;
        for bit in 0..unpadded * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let head = array_at(&flipped, 0).unwrap();
            let proved = Header::parse(&head).is_some_and(|header| {
                let payload = flipped.get(FRAME_HEADER..FRAME_HEADER + header.payload);
                payload.is_some_and(|payload| header.proves(&head, payload, 0))
            });
            assert!(!proved, "bit {bit}");
        }
    }

    #[test]
    fn garbage_is_no_record() {
        assert_eq!(split_record(&[1, 2]), None);
        assert_eq!(split_record(&[255, 255, 0, 0, 1]), None);
        assert_eq!(parse_record(&[0; 20], None), None);
        assert_eq!(parse_record(&[9; 64], None), None);
    }
}
