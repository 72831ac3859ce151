//! The program `kubestellar`: server, demo, agent and commands.

fn main() -> std::process::ExitCode {
    kubestellar::main(kubestellar::Program::KubeStellar)
}
