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
sources() { git ls-files -co --exclude-standard "$@"; }
