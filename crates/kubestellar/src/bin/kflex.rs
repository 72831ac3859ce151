//! The program `kflex`: makes and finds spaces.

fn main() -> std::process::ExitCode {
    kubestellar::main(kubestellar::Program::Kflex)
}
