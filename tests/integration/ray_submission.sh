#!/bin/bash
# Submits jobs to a Ray of its own, in a project's folder; what is printed is parted by ---.
# It needs processes of its own as well: stopping Ray stops all that is seen of it.
set -eu
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef
ray start --head --node-ip-address=127.0.0.1 --num-cpus=2 --dashboard-host=127.0.0.1 >&2

part() { printf -- '---\n'; }
jobs() { autoprune jobs "$1" search.yaml --runner file:ray.yaml --json "${@:2}"; }
ended() { # waits until no job of a name is at work
    for _ in $(seq 200); do
        jobs status "$@" | grep -q -E '"(PENDING|RUNNING)"' || return 0
        sleep 1
    done
    return 1
}

jobs submit
part
jobs submit
part
ended
jobs status
part
jobs submit
part
mv search.yaml whole.yaml
sed 's/^trials: .*/trials: 6\nwarm_start: nowhere/' whole.yaml >search.yaml # wrong when it runs
jobs submit --name broken
part
ended --name broken
jobs submit --name broken
part
ray stop --force >&2
set +e
jobs submit 2>&1
echo "exit code $?"
