#include <cerrno>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/files.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_index_module: a URI that ends in '/' is redirected to the first index file that exists.
namespace weir::http {

namespace {

using namespace conf;

struct IndexSettings {
  std::vector<Template> names;
  const Scope* scope = nullptr;
};

void add_names(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<IndexSettings>();
  if (settings.scope != &scope) settings.names.clear();
  settings.scope = is_default_statement(compiler, statement) ? nullptr : &scope;
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const Word& word = statement.words[i];
    if (word.text.starts_with("/") && i + 1 != statement.words.size()) {
      compiler.warn(statement, "only the last index in \"index\" directive should be absolute", {},
                    &word);
    }
    if (word.text.empty()) {
      compiler.error(statement, "index \"\" in \"index\" directive is invalid", {}, &word);
      return;
    }
    settings.names.push_back(compiler.make_template(statement, word));
  }
}

// No index file: is the folder itself there?
PhaseResult judge_folder(Request& request, const MappedPath& folder, const FoundFile& missing) {
  if (missing.error == EACCES || missing.error == ELOOP) {
    request.log(Severity::error, "\"" + std::string(folder.path) + "\" is forbidden",
                missing.error);
    return PhaseResult::status(403);
  }
  const FoundFile found = find_file(request, folder);
  if (found.error == 0) return PhaseResult::next();
  if (found.error == ENOENT || found.error == ENOTDIR || found.error == ENAMETOOLONG) {
    if (request.settings<CoreSettings>().log_not_found) {
      request.log(Severity::error, "\"" + std::string(missing.call) + "\" is not found",
                  found.error);
    }
    return PhaseResult::status(404);
  }
  if (found.error == EACCES) {
    request.log(Severity::error, "\"" + std::string(folder.path) + "\" is forbidden", found.error);
    return PhaseResult::status(403);
  }
  request.log(Severity::crit, "stat() \"" + std::string(folder.path) + "\" failed", found.error);
  return PhaseResult::status(500);
}

PhaseResult find_index(Request& request) {
  const CurrentTarget& target = request.current();
  if (!target.uri.ends_with('/')) return PhaseResult::next();
  if (target.method != Method::get && target.method != Method::head &&
      target.method != Method::post) {
    return PhaseResult::next();
  }
  bool folder_checked = false;
  for (const Template& name : request.settings<IndexSettings>().names) {
    const std::string_view text = name.evaluate(request);
    if (text.starts_with('/')) return request.redirect(text, target.args);
    ArenaText uri(request.arena(), target.uri.size() + text.size());
    uri.append(target.uri);
    uri.append(text);
    const MappedPath path = map_path(request, uri.view());
    FoundFile found = find_file(request, path);
    if (found.error == 0) return request.redirect(uri.view(), target.args);
    if (found.error == ENOENT || found.error == ENOTDIR || found.error == EACCES ||
        found.error == ELOOP) {
      if (!folder_checked) {
        folder_checked = true;
        found.call = path.path.data();
        PhaseResult result = judge_folder(request, map_path(request), found);
        if (result.kind() != PhaseResult::Kind::next) return result;
      }
      continue;
    }
    request.log(Severity::crit, "stat() \"" + std::string(path.path) + "\" failed", found.error);
    return PhaseResult::status(500);
  }
  return PhaseResult::next();
}

constexpr Directive kDirectives[] = {
    {.name = "index",
     .where = kHttpServerLocation,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .initial = "index.html",
     .merge = Merge::replace_list,
     .set = add_names,
     .doc = "Files that stand for a folder."},
};

void complete(Compiler& compiler, Scope& root) {
  (void)root;
  builder(compiler).add_phase_handler(Phase::content, find_index);
}

}  // namespace

const conf::Module kIndexModule{
    .name = "ngx_http_index_module", .directives = kDirectives, .complete = complete};

}  // namespace weir::http
