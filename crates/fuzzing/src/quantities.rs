//! Quantities: two of them, with a NUL byte between them.

use machinery::quantity::Quantity;

/// The most that any text of a quantity can be sure to say.
const MOST_NANOS: u128 = (i64::MAX as u128) * 1_000_000_000;

/// The canonical form of a quantity is the same amount, and its own canonical form. Sums are where they should be.
pub(crate) fn run(input: &[u8]) {
    let Some([a, b]) = crate::parts(input) else { return };
    let (Ok(a), Ok(b)) = (a.parse::<Quantity>(), b.parse::<Quantity>()) else { return };
    for quantity in [a, b, a.negated(), a + b, a - b, (a + b).negated(), (a - b).negated()] {
        let written = quantity.to_string();
        let _ = quantity.ceil();
        // Sums may be more than a text can say: that is cut at the greatest 64-bit integer, as in a stock server.
        if quantity.nanos().unsigned_abs() > MOST_NANOS {
            continue;
        }
        let again: Quantity = written.parse().expect("what is written can be read");
        assert_eq!(again.to_string(), written, "of {quantity:?}");
    }
    if a.nanos().unsigned_abs() <= MOST_NANOS {
        let again: Quantity = a.to_string().parse().expect("what is written can be read");
        assert_eq!(again, a, "the canonical form");
    }
    assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(std::cmp::Ordering::reverse), "{a:?} and {b:?}");
}
