"""The names of steps, some of which come out of manifests that strangers made."""

import io

import pytest

from convert import progress


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.onnx", "model.onnx"),
        ("[/evil].onnx", "[/evil].onnx"),
        ("[red]model.onnx", "[red]model.onnx"),
        ("\x1b[31mred\u202e.onnx", "\\x1b[31mred\\u202e.onnx"),
    ],
)
def test_a_name_of_a_step_is_shown_as_plain_text(
    is_terminal: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(is_terminal)
    monkeypatch.setattr("sys.stderr", screen)
    with progress.steps(verbose=True)(name):
        pass
    assert f"{expected} " in screen.getvalue() or f"{expected}: " in screen.getvalue()
    assert "\x1b[31m" not in screen.getvalue()
    assert "\u202e" not in screen.getvalue()
