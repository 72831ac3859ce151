//! What `cargo test` plays of the simulation: few seeds of each kind; `cargo xtask sim` plays many.

#[test]
fn the_index_agrees_with_the_rules_on_random_histories() {
    for seed in 0..200 {
        sim::history::play(seed).unwrap();
    }
}
