"""How long `dlcompare --help` and `dlcompare list` take, process start to end (aim: 0.5 s each)."""

import statistics
import subprocess
import sys
import time

for words in (["--help"], ["list"], ["show", "resnet50"]):
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "dlcompare.core", *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begin)
    print(f"dlcompare {' '.join(words):<14} median {statistics.median(seconds):.3f} s "
          f"({min(seconds):.3f} to {max(seconds):.3f}) of {len(seconds)}")
