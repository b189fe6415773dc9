#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "engine/base/slice.h"
#include "engine/http/core_settings.h"

namespace weir::http {

class Request;

// Where a request's URI is on disk: root + URI, or alias + what follows the location's name. The
// text is NUL-terminated in the request's arena (the view does not count the NUL).
struct MappedPath {
  std::string_view path;
  size_t root_size = 0;  // bytes of `path` that come from root or alias
  explicit operator bool() const { return path.data() != nullptr; }
};
// The path of the request's URI, and `name` behind it. False, with the reason in the log, where an
// alias cannot replace the location's name because the URI was rewritten: that is a status 500.
MappedPath map_path(Request& request, std::string_view name = {});
// The same for `below` instead of a URI, put behind the value of root or alias as it is.
MappedPath map_below_root(Request& request, std::string_view below, std::string_view name = {});
// The value of root or alias in effect ($document_root).
std::string_view document_root(Request& request);

// A looked-up file. `error` is an errno, `call` the failed call as nginx names it ("open()").
struct FoundFile {
  int descriptor = -1;  // open_file only; the caller's to close
  Ref<File> file;       // open_shared_file only
  struct stat info{};
  int error = 0;
  const char* call = "";
};
// stat, or open and fstat, with the rules of disable_symlinks, from open_file_cache where it knows
// them. `path` is NUL-terminated. A folder that is known from there has no descriptor.
FoundFile find_file(Request& request, const MappedPath& path);
FoundFile open_file(Request& request, const MappedPath& path);
// The same as open_file, with `file` instead of a descriptor of the caller's own: cheaper where the
// file is open already. Read it by position only.
FoundFile open_shared_file(Request& request, const MappedPath& path);

// Logs a failed look-up in nginx's words and says which status it means (404, 403, 500).
int file_error_status(Request& request, const FoundFile& found, std::string_view path);

// Content-Type: the one that the response has already (X-Accel-Redirect), by the URI's extension
// and `types`, else default_type.
std::string_view content_type_of(Request& request);
// "68ab1c2e-1f4", with quotes, in the arena.
std::string_view entity_tag(Request& request, const struct stat& info);

}  // namespace weir::http
