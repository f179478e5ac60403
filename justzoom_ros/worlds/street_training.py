"""Train the forward registration on generated cities, made meanwhile by other processes.

    python -m justzoom_ros.worlds.street_training runs/streets --workers 7 --device cuda

Goes on with the run in the folder where there is one: --minutes is the whole of it, --at-most ends
this part of it sooner. Cities of the seeds 800 to 811 judge; those that teach begin at 100000.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import torch

from justzoom_ros.files import output_folder
from justzoom_ros.training.street_registration.lesson import Lesson
from justzoom_ros.training.street_registration.recipe import StreetRecipe
from justzoom_ros.training.street_registration.trainer import StreetTrainer
from justzoom_ros.worlds.street_lessons import write_lessons

FIRST_JUDGE, FIRST_SEED, MOST_SEEDS = 800, 100_000, 40_000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.worlds.street_training')
    parser.add_argument('out', type=Path, help='folder of the run')
    parser.add_argument('--minutes', type=float, default=18.0, help='of the run (default 18)')
    parser.add_argument('--at-most', type=float, help='minutes now (default: to the end)')
    parser.add_argument('--workers', type=int, default=2, help='processes that make cities')
    parser.add_argument('--views', type=int, default=64, help='in a step (default 64)')
    parser.add_argument('--judges', type=int, default=12, help='cities that judge (default 12)')
    parser.add_argument('--judge-places', type=int, default=192, help='(default 192)')
    parser.add_argument('--capacity', type=int, default=1000, help='cities kept in memory')
    parser.add_argument('--rate', type=float, default=2e-3, help='learning rate (default 0.002)')
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args(arguments)
    recipe = StreetRecipe(
        minutes=args.minutes, views=args.views, judge_places=args.judge_places,
        capacity=args.capacity, learning_rate=args.rate,
    )  # fmt: skip
    lessons, judging = (output_folder(args.out / name) for name in ('lessons', 'judges'))
    judges = list(range(FIRST_JUDGE, FIRST_JUDGE + args.judges))
    write_lessons(judging, judges[:1])  # compiles the kernels once for all
    _finish(_start(judging, judges, args.workers))
    makers = _start(lessons, range(FIRST_SEED, FIRST_SEED + MOST_SEEDS), args.workers)
    try:
        torch.set_num_threads(1)
        found = [Lesson.load(judging / f'{seed}.npz') for seed in judges]
        trainer = StreetTrainer(recipe, lessons, found, args.out, args.device)
        trainer.run(args.at_most or args.minutes, lambda row: print(row, flush=True))
    finally:
        for maker in makers:
            maker.terminate()


def _start(folder, seeds, workers):
    """Processes that make the lessons of seeds."""
    context = multiprocessing.get_context('spawn')
    shares = [list(seeds[number::workers]) for number in range(workers)]
    makers = [
        context.Process(target=write_lessons, args=(folder, share), daemon=True)
        for share in shares
    ]
    for maker in makers:
        maker.start()
    return makers


def _finish(makers):
    for maker in makers:
        maker.join()


if __name__ == '__main__':
    main()
