# shellcheck shell=bash
# Checks of the files of the tree themselves.

# tree_files [PATTERN...]: what belongs to the tree, committed or about to be.
tree_files() {
  local file
  git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    [[ ! -f $file ]] || printf '%s\n' "$file"
  done
}

shell_scripts() {
  local file
  tree_files scripts .ci debian packages test | while read -r file; do
    case $file in
      # With the scripts that read them.
      scripts/lib/*.sh) ;;
      *.sh | debian/preinst | debian/postinst | debian/prerm | debian/postrm) echo "$file" ;;
      *) ! head -c 64 "$file" | grep -qaE '^#!/(usr/)?bin/(env )?(ba)?sh' || echo "$file" ;;
    esac
  done | sort -u
}

# Hand-written files that nobody can take in at once. Tables, schemas and migrations are exempt.
check_length() {
  local file lines bad=0
  while read -r file; do
    case $file in */schema.ts | */migrations/* | packages/base/src/errors.ts) continue ;; esac
    lines=$(wc -l <"$file")
    ((lines <= 400)) || { echo "$file has $lines lines: 400 are the limit"; bad=1; }
  done < <(tree_files '*.ts' '*.mjs' '*.sh' '*.py' '*.css' '*.js' scripts)
  return "$bad"
}

# What is derived from the sources is current: sample configuration, its reference, man page, list of errors.
check_generated() { node scripts/generate.mjs --check; }

# Every request that a socket takes is explained where one looks for who may do what.
check_privileges() {
  local request bad=0
  while read -r request; do
    grep -qw "$request" docs/privileges.md || { echo "docs/privileges.md says nothing about $request"; bad=1; }
  done < <(find packages/wire/src -name '*.ts' ! -name '*.test.ts' -exec sed -nE 's/^    ([A-Z][A-Za-z]+): \{$/\1/p' {} +)
  return "$bad"
}

# Nothing that only one machine or one company knows: this checkout's path, home directories, registries and their hosts.
check_words() {
  local pattern='registry\.[a-z0-9-]+\.(org|com|io)|artifactory|nexus\.|/work/|/home/[a-z]+/(src|work|projects)/'
  # shellcheck disable=SC2016 # a list of characters
  pattern+="|$(printf '%s' "$PWD" | sed 's/[.[\*^$()+?{|]/\\&/g')/"
  ! tree_files | grep -vE '^(scripts/lib/check-tree\.sh|package-lock\.json)$' | tr '\n' '\0' |
    xargs -0 grep -nIE -- "$pattern"
}

# Every package of the lock file comes from whatever registry npm is configured for, with a checksum.
check_lock() {
  # shellcheck disable=SC2016 # the dollar signs are JavaScript's
  node -e '
    const { packages, lockfileVersion } = require("./package-lock.json");
    const bad = lockfileVersion === 3 ? [] : ["lockfileVersion is not 3"];
    for (const [path, entry] of Object.entries(packages)) {
      if (/^[a-z+]+:\/\//.test(entry.resolved ?? "")) bad.push(`${path} is tied to ${entry.resolved}`);
      if (path.includes("node_modules/") && !entry.link && !entry.integrity) bad.push(`${path} has no checksum`);
    }
    for (const file of ["package.json", ...require("./package.json").workspaces.map((p) => `${p}/package.json`)]) {
      const { dependencies = {}, devDependencies = {} } = require(`./${file}`);
      for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
        if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) bad.push(`${file}: ${name} is not pinned: ${version}`);
      }
    }
    for (const line of bad) console.log(line);
    process.exit(bad.length ? 1 : 0);'
}

# One version, everywhere.
check_versions() {
  local version file
  version=$(node -p 'require("./package.json").version')
  for file in packages/*/package.json; do
    [[ $(node -p "require('./$file').version") == "$version" ]] || { echo "$file: version is not $version"; return 1; }
  done
  [[ $(sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog) == "$version" ]] ||
    { echo "debian/changelog: version is not $version"; return 1; }
  grep -q "^## $version" CHANGELOG.md || { echo "CHANGELOG.md: nothing about $version"; return 1; }
}
