#include "engine/http/graph.h"

#include <algorithm>

#include "engine/upstream/cluster.h"

namespace weir::http {

namespace {

// Kinds that share a name do not collide: "=/x", "/x", "~\.php$".
std::string identity(const Location& location) {
  switch (location.kind) {
    case Location::Kind::exact:
      return "=" + location.name;
    case Location::Kind::regex:
      return {};
    default:
      return location.name;
  }
}

}  // namespace

LocationTable::LocationTable() = default;
LocationTable::~LocationTable() = default;

void LocationTable::add(std::unique_ptr<Location> location) {
  if (location->kind == Location::Kind::regex) {
    regex_.push_back(location.get());
  } else {
    names_.emplace(identity(*location), location.get());
  }
  locations_.push_back(std::move(location));
}

const Location* LocationTable::find_same(const Location& location) const {
  if (location.kind == Location::Kind::regex) return nullptr;
  auto found = names_.find(identity(location));
  return found == names_.end() ? nullptr : found->second;
}

void LocationTable::finish() {
  names_ = {};
  for (const auto& location : locations_) {
    if (location->nested) location->nested->finish();
    if (location->kind == Location::Kind::regex || location->kind == Location::Kind::named)
      continue;
    Entry entry;
    entry.name = location->name;
    (location->kind == Location::Kind::exact ? entry.exact : entry.prefix) = location.get();
    entries_.push_back(entry);
  }
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.name < b.name; });
  size_t kept = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (kept > 0 && entries_[kept - 1].name == entries_[i].name) {
      Entry& same = entries_[kept - 1];
      if (!same.exact) same.exact = entries_[i].exact;
      if (!same.prefix) same.prefix = entries_[i].prefix;
    } else {
      entries_[kept++] = entries_[i];
    }
  }
  entries_.resize(kept);
  entries_.shrink_to_fit();
  for (size_t i = 1; i < entries_.size(); ++i) {
    auto parent = static_cast<int32_t>(i - 1);
    while (parent >= 0 && !entries_[i].name.starts_with(entries_[parent].name)) {
      parent = entries_[parent].parent;
    }
    entries_[i].parent = parent;
  }
}

LocationTable::StaticMatch LocationTable::find_static(std::string_view uri) const {
  auto after =
      std::upper_bound(entries_.begin(), entries_.end(), uri,
                       [](std::string_view text, const Entry& e) { return text < e.name; });
  auto index = static_cast<int32_t>(after - entries_.begin()) - 1;
  while (index >= 0 && !uri.starts_with(entries_[index].name)) index = entries_[index].parent;

  bool whole = index >= 0 && entries_[index].name.size() == uri.size();
  if (whole && entries_[index].exact) return {entries_[index].exact, true, false};
  if (!(whole && entries_[index].prefix)) {
    // Nothing is named `uri` itself: "uri/" may redirect. Its entry is the first after `uri`'s
    // place that starts with "uri/"; names between ("uri!") sort before '/'.
    for (; after != entries_.end() && after->name.starts_with(uri); ++after) {
      if (after->name.size() == uri.size() + 1 && after->name.back() == '/') {
        const Location* target = after->exact ? after->exact : after->prefix;
        if ((after->exact && after->exact->auto_redirect) ||
            (after->prefix && after->prefix->auto_redirect)) {
          return {target, true, true};
        }
        break;
      }
      if (after->name[uri.size()] > '/') break;
    }
  }
  for (; index >= 0; index = entries_[index].parent) {
    if (entries_[index].prefix) return {entries_[index].prefix, false, false};
  }
  return {};
}

LocationTable::Found LocationTable::find(std::string_view uri,
                                         conf::VariableSource& request) const {
  const StaticMatch match = find_static(uri);
  if (match.final) return {match.location, match.auto_redirect, true};
  const Location* best = match.location;
  bool expressions = true;
  if (best) {
    expressions = best->kind != Location::Kind::prefix_no_regex;
    if (best->nested) {
      const Location* outer = best;
      const Found inner = best->nested->find(uri, request);
      if (inner.location) {
        if (inner.final) return inner;
        best = inner.location;
        // A nested ^~ ends its own level's expressions only; the outer level decides for itself.
        expressions = outer->kind != Location::Kind::prefix_no_regex;
      }
    }
  }
  if (!expressions) return {best, false, false};
  for (const Location* location : regex_) {
    if (!request.match(*location->pattern, uri)) continue;
    if (location->nested) {
      const Found inner = location->nested->find(uri, request);
      if (inner.location) return {inner.location, inner.auto_redirect, true};
    }
    return {location, false, true};
  }
  return {best, false, false};
}

const VirtualServer* Listener::find_by_sni(std::string_view name) const {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || !chooses_by_name) return nullptr;
  return names.find(name, nullptr);
}

Graph::Graph() = default;
Graph::~Graph() = default;

const Listener* Graph::find_listener(size_t resource, const net::Address& local) const {
  const Listener* wildcard = nullptr;
  for (const auto& listener : listeners) {
    if (listener->resource != resource) continue;
    if (listener->options.address == local) return listener.get();
    if (listener->is_resource_owner) wildcard = listener.get();
  }
  return wildcard;
}

}  // namespace weir::http
