//! Reads a log file from front to back, and judges where it ends.

use super::frame::{self, ALIGN, FILE_HEADER, FRAME_HEADER, Header, Kind};
use crate::error::EngineError;
use crate::key::Revision;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Size of the read buffer, in bytes.
const READ_BUFFER: usize = 256 << 10;

/// One frame of a file.
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) offset: u64,
}

/// What comes next in a file.
pub(super) enum Next {
    /// A whole frame; its payload is in the buffer.
    Frame(Frame),
    /// Nothing but zeros up to the end of the file.
    End,
    /// Something that is neither: a torn write, or damage.
    Bad(&'static str),
}

/// A position in a file.
pub(super) struct Scan {
    path: PathBuf,
    input: BufReader<File>,
    offset: u64,
    len: u64,
    payload: Vec<u8>,
}

impl Scan {
    /// Opens a file and checks its header.
    pub(super) fn open(path: &Path, kind: Kind, revision: Revision) -> Result<Self, EngineError> {
        let io = |source| EngineError::Io { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut input = BufReader::with_capacity(READ_BUFFER, file);
        let mut header = [0; FILE_HEADER as usize];
        let read = read_up_to(&mut input, &mut header).map_err(io)?;
        if header != frame::file_header(kind, revision) {
            let what = format!("its first {read} bytes are not those of a {kind:?} log for revision {revision}");
            return Err(EngineError::Foreign { path: path.to_owned(), what });
        }
        Ok(Self { path: path.to_owned(), input, offset: FILE_HEADER, len, payload: Vec::new() })
    }

    /// Where the next frame is expected.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the file, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The records of the frame that was read last.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The error for damage at this place.
    pub(super) fn damaged(&self, what: impl Into<String>) -> EngineError {
        EngineError::Damaged { path: self.path.clone(), offset: self.offset, what: what.into() }
    }

    fn io(&self, source: std::io::Error) -> EngineError {
        EngineError::Io { action: "read", path: self.path.clone(), source }
    }

    /// Reads the next frame. After anything but a frame, the scan is over.
    pub(super) fn next(&mut self) -> Result<Next, EngineError> {
        let mut head = [0; FRAME_HEADER];
        let read = read_up_to(&mut self.input, &mut head).map_err(|error| self.io(error))?;
        if head == [0; FRAME_HEADER] {
            return Ok(if self.zeros()? { Next::End } else { Next::Bad("zeros where a frame should begin") });
        }
        if read < FRAME_HEADER {
            return Ok(Next::Bad("the file ends within the header of a frame"));
        }
        let Some(header) = Header::parse(&head) else {
            return Ok(Next::Bad("no frame begins where one should"));
        };
        self.payload.clear();
        let mut padded = (&mut self.input).take((header.frame_len() - FRAME_HEADER) as u64);
        let read = padded.read_to_end(&mut self.payload).map_err(|error| self.io(error))?;
        if read < header.payload {
            return Ok(Next::Bad("the file ends within a frame"));
        }
        self.payload.truncate(header.payload);
        if !header.proves(&head, &self.payload, self.offset) {
            return Ok(Next::Bad("the checksum of a frame does not match its bytes"));
        }
        let offset = self.offset;
        self.offset += header.frame_len() as u64;
        Ok(Next::Frame(Frame { header, offset }))
    }

    /// Whether nothing but zeros follows.
    fn zeros(&mut self) -> Result<bool, EngineError> {
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let read = read_up_to(&mut self.input, &mut buffer).map_err(|error| self.io(error))?;
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if read < buffer.len() {
                return Ok(true);
            }
        }
    }

    /// Whether a whole frame follows somewhere behind this place. A frame is written only when the one before it is
    /// synced, so then what is bad here was good once: it is damage, not a torn write.
    pub(super) fn frame_follows(&self) -> Result<bool, EngineError> {
        let bytes = std::fs::read(&self.path).map_err(|error| self.io(error))?;
        let mut at = usize::try_from(self.offset).unwrap_or(usize::MAX).saturating_add(ALIGN);
        while let Some(head) = frame::array_at(&bytes, at) {
            if let Some(header) = Header::parse(&head)
                && let Some(payload) = bytes.get(at + FRAME_HEADER..at + FRAME_HEADER + header.payload)
                && header.proves(&head, payload, at as u64)
            {
                return Ok(true);
            }
            at += ALIGN;
        }
        Ok(false)
    }
}

/// Fills as much of the buffer as the input has.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match input.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
