#include "engine/http/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "engine/event/loop.h"
#include "engine/http/file_cache.h"
#include "engine/http/graph.h"
#include "engine/http/request.h"
#include "engine/worker.h"

namespace weir::http {

std::string_view document_root(Request& request) {
  const auto& settings = request.settings<CoreSettings>();
  std::string_view root = settings.root.evaluate(request);
  if (root.starts_with('/')) return root;
  // A root made of variables may turn out relative: it is meant from the prefix.
  ArenaText whole(request.arena(), request.graph().prefix.size() + root.size());
  whole.append(request.graph().prefix);
  whole.append(root);
  return whole.view();
}

MappedPath map_path(Request& request, std::string_view name) {
  const auto& settings = request.settings<CoreSettings>();
  const CurrentTarget& target = request.current();
  std::string_view uri = target.uri;
  if (settings.alias_by_regex) {
    if (!target.behind_alias) uri = {};
  } else if (settings.alias) {
    uri.remove_prefix(std::min(settings.location_name.size(), uri.size()));
  }
  return map_below_root(request, uri, name);
}

MappedPath map_below_root(Request& request, std::string_view below, std::string_view name) {
  const auto& settings = request.settings<CoreSettings>();
  if (settings.alias && !request.current().location_valid) {
    request.log(Severity::alert, "\"alias\" cannot be used in location \"" +
                                     request.location()->name + "\" where URI was rewritten");
    return {};
  }
  const std::string_view root = document_root(request);
  ArenaText path(request.arena(), root.size() + below.size() + name.size() + 1);
  path.append(root);
  path.append(below);
  path.append(name);
  const size_t size = path.size();
  path.push_back('\0');
  return {path.view().substr(0, size), root.size()};
}

namespace {

bool is_link(int descriptor) {
  struct stat info{};
  return ::fstat(descriptor, &info) == 0 && S_ISLNK(info.st_mode);
}

// One component at a time, refusing links (or links of somebody else).
int open_without_symlinks(std::string_view path, size_t trusted, bool allow_same_owner, int flags) {
  // The part that disable_symlinks from= covers is opened as it is.
  size_t at = trusted;
  while (at > 0 && path[at - 1] != '/') --at;
  const std::string start = at == 0 ? "/" : std::string(path.substr(0, at));
  int folder = ::open(start.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  while (folder >= 0) {
    while (at < path.size() && path[at] == '/') ++at;
    const size_t end = std::min(path.find('/', at), path.size());
    const bool last = end >= path.size();
    const std::string name(path.substr(at, end - at));
    const int wanted = last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC;
    int next = ::openat(folder, name.empty() ? "." : name.c_str(), wanted | O_NOFOLLOW);
    if (next >= 0 && (wanted & O_PATH) != 0 && is_link(next)) {
      // O_PATH opens a link itself.
      ::close(next);
      next = -1;
      errno = ELOOP;
    }
    if (next < 0 && (errno == ELOOP || errno == ENOTDIR) && allow_same_owner) {
      struct stat link{};
      struct stat target{};
      if (::fstatat(folder, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0 &&
          ::fstatat(folder, name.c_str(), &target, 0) == 0) {
        if (link.st_uid == target.st_uid) {
          next = ::openat(folder, name.c_str(), wanted);
        } else {
          errno = ELOOP;
        }
      }
    }
    const int error = errno;
    ::close(folder);
    errno = error;
    if (next < 0 || last) return next;
    folder = next;
    at = end;
  }
  return folder;
}

int open_path(Request& request, const MappedPath& path, int flags, const char*& call) {
  const auto& settings = request.settings<CoreSettings>();
  call = "open()";
  if (settings.disable_symlinks == SymlinkRule::off) return ::open(path.path.data(), flags);
  call = "openat()";
  size_t trusted = 0;
  if (!settings.disable_symlinks_from.empty()) {
    const std::string_view from = settings.disable_symlinks_from.evaluate(request);
    if (path.path.starts_with(from)) trusted = from.size();
  }
  return open_without_symlinks(path.path, trusted,
                               settings.disable_symlinks == SymlinkRule::if_not_owner, flags);
}

}  // namespace

namespace {

FoundFile stat_path(Request& request, const MappedPath& path) {
  FoundFile found;
  if (request.settings<CoreSettings>().disable_symlinks == SymlinkRule::off) {
    found.call = "stat()";
    if (::stat(path.path.data(), &found.info) != 0) found.error = errno;
    return found;
  }
  const int descriptor = open_path(request, path, O_PATH | O_CLOEXEC, found.call);
  if (descriptor < 0 || ::fstat(descriptor, &found.info) != 0) found.error = errno;
  if (descriptor >= 0) ::close(descriptor);
  return found;
}

FoundFile open_and_stat(Request& request, const MappedPath& path) {
  FoundFile found;
  // O_NONBLOCK: a FIFO must not hold the worker.
  found.descriptor = open_path(request, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, found.call);
  if (found.descriptor < 0) {
    found.error = errno;
  } else if (::fstat(found.descriptor, &found.info) != 0) {
    found.error = errno;
    found.call = "fstat()";
    ::close(found.descriptor);
    found.descriptor = -1;
  }
  return found;
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

// Paths that are opened by different rules are different things.
std::string_view cache_key(Request& request, const MappedPath& path) {
  const auto& settings = request.settings<CoreSettings>();
  if (settings.disable_symlinks == SymlinkRule::off) return path.path;
  ArenaText key(request.arena(), path.path.size() + 16);
  key.append(path.path);
  key.push_back('\0');
  key.push_back(static_cast<char>('0' + static_cast<int>(settings.disable_symlinks)));
  key.append(settings.disable_symlinks_from.evaluate(request));
  return key.view();
}

FoundFile told_by(const FileCache::Entry& entry) {
  FoundFile found;
  found.file = entry.file;
  found.info = entry.info;
  found.error = entry.error;
  found.call = entry.call;
  return found;
}

// `wants_file`: as open_shared_file; else as find_file.
FoundFile look_up(Request& request, const MappedPath& path, bool wants_file) {
  const auto& settings = request.settings<CoreSettings>();
  FileCache& cache = *settings.open_file_cache;
  FileCacheRules rules;
  rules.valid = static_cast<uint64_t>(settings.open_file_cache_valid.value) * 1000;
  rules.min_uses = static_cast<uint64_t>(settings.open_file_cache_min_uses.value);
  rules.errors = settings.open_file_cache_errors;
  const uint64_t now = request.worker().loop.now();
  const std::string_view key = cache_key(request, path);
  FileCache::Entry* entry = cache.find(key, now);
  if (entry && FileCache::is_fresh(*entry, rules, now)) return told_by(*entry);
  // What is open already need not be opened again, if it is still there.
  FoundFile found;
  const bool is_open = entry && entry->file;
  if (is_open || !wants_file) {
    found = stat_path(request, path);
    if (is_open && found.error == 0 && is_same_file(found.info, entry->info)) {
      found.file = entry->file;
    }
  }
  if (wants_file && !found.file) {
    found = open_and_stat(request, path);
    if (found.descriptor >= 0) {
      found.file = make_ref<File>(std::exchange(found.descriptor, -1));
    }
  }
  if (found.error != 0 && !rules.errors) {
    if (entry) cache.remove(*entry);
    return found;
  }
  if (!entry) entry = &cache.add(key, now);
  entry->info = found.info;
  entry->error = found.error;
  entry->call = found.call;
  entry->checked = now;
  const bool keeps =
      S_ISREG(found.info.st_mode) && found.error == 0 && entry->uses >= rules.min_uses;
  entry->file = keeps ? found.file : Ref<File>();
  return found;
}

}  // namespace

FoundFile find_file(Request& request, const MappedPath& path) {
  if (!request.settings<CoreSettings>().open_file_cache) return stat_path(request, path);
  FoundFile found = look_up(request, path, false);
  found.file = {};
  return found;
}

FoundFile open_file(Request& request, const MappedPath& path) {
  if (!request.settings<CoreSettings>().open_file_cache) return open_and_stat(request, path);
  FoundFile found = look_up(request, path, true);
  const Ref<File> shared = std::exchange(found.file, {});
  if (!shared) return found;
  found.descriptor = ::fcntl(shared->descriptor(), F_DUPFD_CLOEXEC, 0);
  if (found.descriptor < 0) {
    found.error = errno;
    found.call = "fcntl(F_DUPFD_CLOEXEC)";
  }
  return found;
}

FoundFile open_shared_file(Request& request, const MappedPath& path) {
  if (request.settings<CoreSettings>().open_file_cache) return look_up(request, path, true);
  FoundFile found = open_and_stat(request, path);
  if (found.descriptor >= 0) found.file = make_ref<File>(std::exchange(found.descriptor, -1));
  return found;
}

int file_error_status(Request& request, const FoundFile& found, std::string_view path) {
  Severity severity = Severity::crit;
  int status = 500;
  switch (found.error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      severity = Severity::error;
      status = 404;
      break;
    case EACCES:
    case EMLINK:
    case ELOOP:
      severity = Severity::error;
      status = 403;
      break;
    default:
      break;
  }
  if (status != 404 || request.settings<CoreSettings>().log_not_found) {
    request.log(severity, std::string(found.call) + " \"" + std::string(path) + "\" failed",
                found.error);
  }
  return status;
}

std::string_view content_type_of(Request& request) {
  // What an upstream said with X-Accel-Redirect stays.
  const std::string_view given = request.response().content_type;
  if (!given.empty()) return given;
  const auto& settings = request.settings<CoreSettings>();
  const std::string_view extension = request.current().extension;
  if (!extension.empty() && settings.types) {
    std::string key(extension);
    for (char& c : key) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    }
    if (auto found = settings.types->find(key); found != settings.types->end())
      return found->second;
  }
  return settings.default_type;
}

std::string_view entity_tag(Request& request, const struct stat& info) {
  char text[64];
  const int size =
      std::snprintf(text, sizeof text, "\"%" PRIx64 "-%" PRIx64 "\"",
                    static_cast<uint64_t>(info.st_mtime), static_cast<uint64_t>(info.st_size));
  return request.arena().copy({text, static_cast<size_t>(size)});
}

}  // namespace weir::http
