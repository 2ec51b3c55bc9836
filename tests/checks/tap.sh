# Sourced by the checks: TAP lines, one per thing looked at.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
number=0
bad=0
# verdict NAME [COMPLAINT]: fails when there is a complaint.
verdict() {
	number=$((number + 1))
	if [ -z "${2:-}" ]; then
		echo "ok $number - $1"
	else
		bad=$((bad + 1))
		echo "not ok $number - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}
finish() {
	echo "1..$number"
	[ "$number" -gt 0 ] && [ "$bad" = 0 ]
}
# sources [PATTERN...]: the tree's files, without what .gitignore names.  A `*`
# matches slashes too.  By find and not by git, so that a tree without history
# is checked as well.
sources() {
	local skip=(-name .git) pattern
	while read -r pattern; do
		pattern=${pattern#/}
		skip+=(-o -name "${pattern%/}")
	done <.gitignore
	find . -type d \( "${skip[@]}" \) -prune -o -type f -printf '%P\n' |
		sort | while read -r file; do
		[ $# -gt 0 ] || echo "$file"
		for pattern in "$@"; do
			# shellcheck disable=SC2254
			case "$file" in $pattern) echo "$file" ;; esac
		done
	done
}
# each FUNCTION FILES: FUNCTION FILE for each, as many at once as there are
# processors; said_of FILE is what it printed.  FUNCTION must be exported.
each() {
	said=$(mktemp -d)
	trap 'rm -rf "$said"' EXIT
	xargs -P "$(nproc)" -I{} bash -c '"$0" {} >"$1/$(tr / _ <<<{})"' \
		"$1" "$said" <<<"$2"
}
said_of() { cat "$said/${1//\//_}"; }
