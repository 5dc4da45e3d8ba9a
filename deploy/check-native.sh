#!/bin/sh
# The kernels without Python: warnings as errors, address and undefined-behaviour sanitizers, golden values and edges.
set -eu
build=build/native-check
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGUIDANCE_WERROR=ON -DGUIDANCE_SANITIZE=ON >/dev/null
cmake --build "$build" --target native_check --parallel "$(getconf _NPROCESSORS_ONLN)"
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/native_check"
