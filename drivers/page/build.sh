#!/bin/sh
# Rebuilds the page's scripts from src/*.ts; they are committed, so that nobody needs Node.js to use the page.
set -eu
cd "$(dirname "$0")"
TSC=${TSC:-"npx --yes -p typescript@5.9.3 tsc"}
rm -rf built
$TSC --project tsconfig.json
for script in built/*.js; do
  source="src/$(basename "$script" .js).ts"
  # The test compares this with the source: a script that is out of date fails it, without Node.js.
  digest=$(sha256sum "$source" | cut -d " " -f 1)
  { echo "// Built from $source, sha256 $digest; change that, then run: make page"; cat "$script"; } >"$script.new"
  mv "$script.new" "$script"
done
rm -f built/types.js
echo "built: $(ls built | tr '\n' ' ')"
