"""The table that tools/bench prints."""

import statistics


def number(value):
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


class Table:
    """Lines of: what, unit, nginx, weir, ratio, target, verdict. Printed as they come."""

    def __init__(self):
        self.missed = []
        self.met = 0
        print(f"{'what':34} {'unit':16} {'nginx':>10} {'weir':>10} {'ratio':>7} {'target':>8}")

    def paired(self, what, unit, nginx, weir, target=None):
        """Paired rounds; the ratio is the median of the rounds' ratios."""
        ratio = statistics.median(w / n for w, n in zip(weir, nginx))
        self._line(what, unit, statistics.median(nginx), statistics.median(weir), ratio, target,
                   ratio)

    def absolute(self, what, unit, nginx, weir, target=None):
        """A target for weir's own value; `nginx` may be None."""
        ratio = weir / nginx if nginx else None
        self._line(what, unit, nginx, weir, ratio, target, weir)

    def _line(self, what, unit, nginx, weir, ratio, target, judged):
        verdict = ""
        if target is not None:
            good = judged <= target
            verdict = "pass" if good else "FAIL"
            if good:
                self.met += 1
            else:
                self.missed.append(what)
        shown_nginx = "-" if nginx is None else number(nginx)
        shown_ratio = "-" if ratio is None else f"{ratio:.2f}"
        shown_target = "-" if target is None else number(target)
        print(f"{what:34} {unit:16} {shown_nginx:>10} {number(weir):>10} {shown_ratio:>7} "
              f"{shown_target:>8} {verdict}", flush=True)

    def summary(self):
        text = f"targets met: {self.met} of {self.met + len(self.missed)}"
        print(text + (f"; missed: {', '.join(self.missed)}" if self.missed else ""))
