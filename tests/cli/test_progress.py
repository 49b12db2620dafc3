from cli.progress import EVERY, Lines, _bars, _on_terminal


def test_without_a_terminal_a_line_every_few_seconds(capsys) -> None:
    now = 0.0
    report = Lines(lambda: now)
    for step in range(101):
        report("Training", step, 100, f"loss {step}")
        now += EVERY / 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 25
    assert lines[0] == "Training 4 of 100, loss 4, 0:04:00 left"
    assert lines[-1] == "Training 100 of 100, loss 100"


def test_a_short_run_prints_nothing(capsys) -> None:
    now = 0.0
    report = Lines(lambda: now)
    for step in range(4):
        report("Calibrating", step, 0)
        now += EVERY / 4.1
    assert capsys.readouterr().err == ""


def test_work_of_unknown_length_and_the_next_of_several(capsys) -> None:
    now = 0.0
    report = Lines(lambda: now)
    for what, done, total in (("Allocating", 0, 0), ("Selecting", 5, 10), ("Selecting", 6, 10)):
        now += EVERY
        report(what, done, total)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Allocating", "Selecting 5 of 10", "Selecting 6 of 10, 0:00:40 left"]


def test_time_left_goes_by_the_share_of_the_work_where_steps_differ(capsys) -> None:
    now = 0.0
    report = Lines(lambda: now)
    for step, share in enumerate((0.0, 0.1, 0.8)):
        report("Compensating", step, 3, "", share)
        now += EVERY
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Compensating 1 of 3, 0:01:30 left", "Compensating 2 of 3, 0:00:05 left"]


def test_bars_tell_the_time_left_of_slow_steps_too() -> None:
    now = 0.0
    bars = _bars(lambda: now)
    report = _on_terminal(bars)
    for step in range(5):
        report("Compensating", step, 6, "", step / 6)
        now += 100
    (task,) = bars.tasks
    assert task.time_remaining == 200
