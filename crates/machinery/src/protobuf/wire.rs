//! The wire format of protocol buffers: tags, varints, and length-delimited bytes.

use super::ProtobufError;

/// One field as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Payload<'a> {
    /// Integers and booleans.
    Varint(u64),
    /// Doubles.
    Fixed64(u64),
    /// Floats, which no Kubernetes message has.
    Fixed32,
    /// Text, bytes, messages, packed lists.
    Bytes(&'a [u8]),
}

/// Reads fields one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number and payload of the next field; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Payload<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(ProtobufError::Malformed)?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?.try_into().expect("took eight bytes");
                Payload::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Malformed)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Payload::Fixed32
            }
            // Groups (3 and 4) were gone before Kubernetes came.
            _ => return Err(ProtobufError::Malformed),
        };
        Ok(Some((number, payload)))
    }

    /// The next varint, as lists of integers are packed; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(ProtobufError::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], wanted: Result<Option<(u32, Payload<'_>)>, ProtobufError>) {
        assert_eq!(Reader::new(bytes).field(), wanted);
    }

    #[test]
    fn fields() {
        check(b"", Ok(None));
        check(b"\x08\x96\x01", Ok(Some((1, Payload::Varint(150)))));
        check(b"\x12\x02hi", Ok(Some((2, Payload::Bytes(b"hi")))));
        check(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Ok(Some((1, Payload::Varint(u64::MAX)))));
        check(b"\x1d\0\0\0\0", Ok(Some((3, Payload::Fixed32))));
        for malformed in [
            b"\x08".as_slice(),
            b"\x12\x05hi",
            b"\x0b",
            b"\x00\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x11\0",
        ] {
            check(malformed, Err(ProtobufError::Malformed));
        }
    }
}
