#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/files.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// try_files (ngx_http_try_files_module): the first path that exists is served, else the last word's
// URI.
namespace weir::http {

namespace {

using namespace conf;

struct Candidate {
  Template path;
  bool folder = false;  // written with '/' at the end
};

struct TryFiles {
  static constexpr bool kSeenByIf = false;
  std::vector<Candidate> candidates;
  Template fallback;  // URI, "@named"
  int status = 0;     // "=404"
};

void read_try_files(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& own = scope.write_own<TryFiles>();
  const size_t last = statement.words.size() - 1;
  for (size_t i = 1; i < last; ++i) {
    const Word& word = statement.words[i];
    Candidate candidate;
    std::string_view text = word.text;
    if (text.ends_with('/')) {
      candidate.folder = true;
      text.remove_suffix(1);
    }
    candidate.path = compiler.make_template(statement, word, text);
    own.candidates.push_back(std::move(candidate));
  }
  const Word& fallback = statement.words[last];
  if (fallback.text.starts_with("=")) {
    const auto status = parse_number(fallback.text.substr(1));
    if (!status || *status > 999) {
      compiler.error(statement, "invalid code \"" + std::string(fallback.text) + "\"", {},
                     &fallback);
      return;
    }
    own.status = static_cast<int>(*status);
  } else {
    own.fallback = compiler.make_template(statement, fallback);
  }
}

// What of a word stands behind root or alias: with an alias, one of variables (`$uri`) may begin
// with the location's name, which the alias replaces. So it is with the last word, too, though
// that is a URI: configurations write the name twice for it (`/app//app/index.php?$args`).
std::string_view below_root(Request& request, const Template& path) {
  const auto& settings = request.settings<CoreSettings>();
  std::string_view text = path.evaluate(request);
  if (!settings.alias || settings.alias_by_regex || path.is_literal()) return text;
  const std::string_view name = request.current().uri.substr(0, settings.location_name.size());
  if (text.starts_with(name)) text.remove_prefix(name.size());
  return text;
}

PhaseResult fall_back(Request& request, const TryFiles& own) {
  if (own.status != 0) return PhaseResult::status(own.status);
  const std::string_view target = below_root(request, own.fallback);
  if (target.starts_with('@')) return request.redirect_named(target);
  const size_t mark = target.find('?');
  if (mark == std::string_view::npos) return request.redirect(target, "");
  return request.redirect(target.substr(0, mark), target.substr(mark + 1));
}

// Only the path to look for: what was received is still what a proxy sends on.
void point_at(Request& request, std::string_view below, bool folder) {
  const auto& settings = request.settings<CoreSettings>();
  const CurrentTarget before = request.current();
  if (!settings.alias) {
    request.rewrite_uri(below, false);
  } else if (settings.alias_by_regex) {
    if (folder) return;
    request.rewrite_uri(below, false);
    request.current().behind_alias = true;
  } else {
    const std::string_view name = before.uri.substr(0, settings.location_name.size());
    ArenaText uri(request.arena(), name.size() + below.size());
    uri.append(name);
    uri.append(below);
    request.rewrite_uri(uri.view(), false);
  }
  request.current().unchanged = before.unchanged;
  request.current().internal = before.internal;
  request.current().location_valid = before.location_valid;
}

PhaseResult try_candidates(Request& request) {
  const TryFiles* own = request.own_settings<TryFiles>();
  if (!own || (own->candidates.empty() && own->status == 0 && own->fallback.empty())) {
    return PhaseResult::next();
  }
  for (const Candidate& candidate : own->candidates) {
    const std::string_view below = below_root(request, candidate.path);
    const MappedPath path = map_below_root(request, below);
    if (!path) return PhaseResult::status(500);
    const FoundFile found = find_file(request, path);
    if (found.error != 0) continue;
    if (S_ISDIR(found.info.st_mode) != candidate.folder) continue;
    point_at(request, below, candidate.folder);
    return PhaseResult::next();
  }
  return fall_back(request, *own);
}

constexpr Directive kDirectives[] = {
    {.name = "try_files",
     .where = kServer | kLocation,
     .args = {2, kNoLimit},
     .merge = Merge::own,
     .set = read_try_files,
     .doc = "Serves the first of these that exists, else goes to the last."},
};

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::precontent, try_candidates);
}

}  // namespace

const conf::Module kTryFilesModule{
    .name = "ngx_http_try_files_module", .directives = kDirectives, .complete = complete};

}  // namespace weir::http
