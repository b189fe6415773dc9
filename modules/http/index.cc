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
};

void add_names(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<IndexSettings>();
  if (compiler.first_use(scope)) settings.names.clear();
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const Word& word = statement.words[i];
    if (word.text.starts_with("/") && i + 1 != statement.words.size()) {
      compiler.warn(statement, "only the last index in \"index\" directive should be absolute", {},
                    &word);
    }
    if (word.text.empty()) {
      // nginx names the first word, whichever is empty.
      compiler.error(
          statement,
          "index \"" + std::string(statement.argument(0)) + "\" in \"index\" directive is invalid",
          {}, &word);
      return;
    }
    settings.names.push_back(compiler.make_template(statement, word));
  }
}

// Why `path`, an index file, cannot be had.
PhaseResult refuse(Request& request, const MappedPath& path, int error) {
  if (error == EACCES || error == EMLINK || error == ELOOP) {
    request.log(Severity::error, "\"" + std::string(path.path) + "\" is forbidden", error);
    return PhaseResult::status(403);
  }
  if (request.settings<CoreSettings>().log_not_found) {
    request.log(Severity::error, "\"" + std::string(path.path) + "\" is not found", error);
  }
  return PhaseResult::status(404);
}

// The first index file is missing: is the folder itself there?
PhaseResult judge_folder(Request& request, const MappedPath& index) {
  const MappedPath folder = map_path(request);
  const FoundFile found = find_file(request, folder);
  if (found.error == ENOENT) return refuse(request, index, ENOENT);
  // A folder that may be searched but not read has been searched just now.
  if (found.error == EACCES) return PhaseResult::next();
  if (found.error != 0) {
    request.log(Severity::crit,
                std::string(found.call) + " \"" + std::string(folder.path) + "\" failed",
                found.error);
    return PhaseResult::status(500);
  }
  if (S_ISDIR(found.info.st_mode)) return PhaseResult::next();
  request.log(Severity::alert, "\"" + std::string(folder.path) + "\" is not a directory");
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
    const MappedPath path = map_path(request, text);
    if (!path) return PhaseResult::status(500);
    const FoundFile found = find_file(request, path);
    switch (found.error) {
      case 0:
        return request.redirect(uri.view(), target.args);
      case ENOTDIR:
      case ENAMETOOLONG:
      case EACCES:
      case EMLINK:
      case ELOOP:
        return refuse(request, path, found.error);
      default:
        break;
    }
    if (!folder_checked) {
      folder_checked = true;
      PhaseResult result = judge_folder(request, path);
      if (result.kind() != PhaseResult::Kind::next) return result;
    }
    if (found.error == ENOENT) continue;
    request.log(Severity::crit,
                std::string(found.call) + " \"" + std::string(path.path) + "\" failed",
                found.error);
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

void complete(Compiler& compiler, Scope&) {
  builder(compiler).add_phase_handler(Phase::content, find_index);
}

}  // namespace

const conf::Module kIndexModule{
    .name = "ngx_http_index_module", .directives = kDirectives, .complete = complete};

}  // namespace weir::http
