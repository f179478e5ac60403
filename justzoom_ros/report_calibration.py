"""How sure a localizer is beside how often it is right: the reliability diagram."""

import numpy as np

from justzoom_ros.benchmark import metrics
from justzoom_ros.report import INK, SERIES_COLOURS, new_figure, save

BINS = 10


def reliability(confidences, correct, bins=BINS):
    """Mean confidence, share that is right, and number of the images of each bin (equal width)
    that has any: three arrays (Guo et al., arXiv 1706.04599)."""
    confidences, correct = np.asarray(confidences, float), np.asarray(correct, float)
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    some = count > 0
    mean = np.bincount(index, confidences, bins)[some] / count[some]
    right = np.bincount(index, correct, bins)[some] / count[some]
    return mean, right, count[some]


def draw_reliability(series, path):
    """{name: Results of `evaluate`}: mass within 50 m of the guess against how often the truth is
    there, as a PNG. Raises OutputError."""
    figure = new_figure(5.2, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color='0.7', lw=1, zorder=0)
    for (name, results), colour in zip(series.items(), SERIES_COLOURS, strict=False):
        sure = [r.mass_near for r in results]
        right = [r.guess_error_m <= 50 for r in results]
        mean, share, count = reliability(sure, right)
        ece = metrics.ece(sure, right)
        nll = metrics.nll_nats([r.truth_mass for r in results])
        label = f'{name}: ECE {ece:.3f}, NLL {nll:.2f} nats'
        axes.plot(mean, share, '-', color=colour, lw=1.2)
        axes.scatter(mean, share, 12 + 120 * count / count.sum(), color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel='mass within 50 m of the best guess')
    axes.set(ylabel='share whose truth is there')
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper left', fontsize=9, labelcolor=INK)
    figure.tight_layout()
    save(figure, path)
