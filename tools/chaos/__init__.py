"""Break managers, workers, connections and the server at random, and check that no promise was broken.

    python -m tools.chaos --seeds 30 --seconds 30
    python -m tools.chaos --seed 7 --seconds 30

| module | question |
|---|---|
| `plan` | which faults does a seed choose, when, and at whom? |
| `faults` | which kinds of faults are there? |
| `trial` | how does one seed run, from an empty database to the evidence? |
| `processes`, `proxy`, `wire`, `pooler` | what runs, and what can be broken? |
| `injection` | how is each fault carried out? |
| `enqueuer`, `app`, `kinds` | which tasks are enqueued, and how should each end? |
| `schedules` | which schedules tick, and how often? |
| `journal` | who ran what, when? |
| `evidence` | what is known when all is over? |
| `ends`, `runs`, `counters`, `ticks`, `checker` | which promises does it break? |
| `report` | what does a person see? |
"""
