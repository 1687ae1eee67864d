"""What the documents say is what the code does: commands, options, launch arguments, files."""

import ast
import re
import shlex

import pytest


def code_lines(text: str) -> list[str]:
    """Command lines of the fenced bash blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def commands(checkout, program: str, document: str = "README.md") -> list[list[str]]:
    lines = code_lines((checkout / document).read_text())
    return [shlex.split(line)[1:] for line in lines if shlex.split(line)[0] == program]


def test_every_make_target_in_the_readme_exists(checkout):
    targets = set(re.findall(r"^([a-z-]+):", (checkout / "Makefile").read_text(), re.M))
    named = {words[0] for words in commands(checkout, "make")}
    named |= set(re.findall(r"`make ([a-z-]+)`", (checkout / "README.md").read_text()))
    assert {"demo", "test", "train-nano"} <= named <= targets


def test_c2f_bag_and_c2f_replay_take_the_readme_s_options(checkout):
    from c2f_ros import bag_cli, replay_cli

    for program, module in (("c2f-bag", bag_cli), ("c2f-replay", replay_cli)):
        found = commands(checkout, program)
        assert found
        for words in found:
            module.make_parser().parse_args(words)


@pytest.mark.parametrize("document", ["README.md", "training/README.md"])
def test_c2f_train_takes_the_readme_s_options(checkout, document):
    pytest.importorskip("c2f_train.cli", reason="c2f_train is not installed")
    from c2f_train import cli

    found = commands(checkout, "c2f-train", document)
    assert len(found) > 3
    for words in found:
        if words != ["--help"]:
            cli.make_parser(words).parse_args(words)


def test_the_readme_s_launch_arguments_are_those_of_the_launch_file(checkout):
    tree = ast.parse((checkout / "launch" / "amodal.launch.py").read_text())
    declared = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument":
            default = next(k.value for k in node.keywords if k.arg == "default_value")
            declared[node.args[0].value] = default.value if isinstance(default, ast.Constant) else None
    section = (checkout / "README.md").read_text().split("| launch argument |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `?([^|`]*)`? \|", section, re.M))
    assert set(rows) == set(declared)
    for name, default in declared.items():
        if default is not None:
            assert rows[name].strip() == (default or "empty"), name


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "training/README.md"])
def test_local_links_lead_somewhere(checkout, document):
    for target in re.findall(r"\]\(([^)#]+)\)", (checkout / document).read_text()):
        assert target.startswith("http") or ((checkout / document).parent / target).exists(), target


def test_architecture_names_every_module_of_the_runtime(checkout):
    text = (checkout / "ARCHITECTURE.md").read_text()
    for path in (checkout / "c2f_ros").glob("*.py"):
        assert path.name == "__init__.py" or path.name in text, path.name
    for path in (checkout / "c2f_ros" / "steps").glob("step*.py"):
        assert path.name in text, path.name


def test_architecture_names_no_file_that_is_not_there(checkout):
    names = set(re.findall(r"`([a-z0-9_/]+\.(?:py|yaml))`", (checkout / "ARCHITECTURE.md").read_text()))
    there = {p.name for p in checkout.rglob("*") if ".venv" not in p.parts and p.is_file()}
    missing = {n for n in names if n.split("/")[-1] not in there}
    assert not missing
