#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/files.h"
#include "engine/http/request.h"
#include "engine/http/uri.h"
#include "modules/http/modules.h"

// ngx_http_static_module: regular files. It is the last content handler, so it also answers for
// folders that nothing else served.
namespace weir::http {

namespace {

PhaseResult refuse_folder(Request& request) {
  const MappedPath path = map_path(request);
  if (!path) return PhaseResult::status(500);
  request.log(Severity::error,
              "directory index of \"" + std::string(path.path) + "\" is forbidden");
  return PhaseResult::status(403);
}

// "/folder" → "/folder/", arguments kept.
PhaseResult redirect_to_folder(Request& request) {
  const CurrentTarget& target = request.current();
  ArenaText location(request.arena(), target.uri.size() + target.args.size() + 8);
  location.append(escape(request.arena(), target.uri, Escape::uri));
  location.push_back('/');
  if (!target.args.empty()) {
    location.push_back('?');
    location.append(target.args);
  }
  return request.redirect_client(301, location.view());
}

PhaseResult send_file(Request& request, const FoundFile& found) {
  request.set_activity("sending response to client");
  Response& response = request.response();
  response.status = 200;
  response.content_length = found.info.st_size;
  response.last_modified = found.info.st_mtime;
  if (request.settings<CoreSettings>().etag) {
    response.etag = entity_tag(request, found.info);
    // Behind the fields of an upstream that sent us here (X-Accel-Redirect).
    if (!response.headers.empty())
      response.headers.add(request.arena(), Header{"ETag", response.etag, HeaderId::etag});
  }
  response.content_type = content_type_of(request);
  response.allow_ranges = true;
  if (!request.send_head()) return PhaseResult::done();
  Chain body;
  if (found.info.st_size > 0)
    body.push(Slice::file_range(found.file, 0, static_cast<size_t>(found.info.st_size)));
  request.send(std::move(body), true);
  return PhaseResult::done();
}

PhaseResult serve(Request& request) {
  const CurrentTarget& target = request.current();
  const bool post = target.method == Method::post;
  if (target.method != Method::get && target.method != Method::head && !post)
    return PhaseResult::status(405);
  if (target.uri.ends_with('/')) return refuse_folder(request);
  const MappedPath path = map_path(request);
  if (!path) return PhaseResult::status(500);
  const FoundFile found = open_shared_file(request, path);
  if (found.error != 0) return PhaseResult::status(file_error_status(request, found, path.path));
  if (S_ISDIR(found.info.st_mode)) return redirect_to_folder(request);
  if (!S_ISREG(found.info.st_mode)) {
    request.log(Severity::crit, "\"" + std::string(path.path) + "\" is not a regular file");
    return PhaseResult::status(404);
  }
  if (post) return PhaseResult::status(405);
  request.body().discard();
  return send_file(request, found);
}

void complete(conf::Compiler& compiler, conf::Scope&) {
  builder(compiler).add_phase_handler(Phase::content, serve);
}

}  // namespace

const conf::Module kStaticModule{.name = "ngx_http_static_module", .complete = complete};

}  // namespace weir::http
