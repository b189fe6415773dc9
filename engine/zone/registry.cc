#include "engine/zone/registry.h"

#include "confparse/value.h"

namespace weir::zone {

std::shared_ptr<Zone> Registry::declare(conf::Compiler& compiler, const conf::Statement& at,
                                        std::string_view name, uint64_t size,
                                        std::string_view kind) {
  for (const auto& zone : zones_) {
    ZoneRequest& request = zone->request;
    if (request.name != name) continue;
    if (request.kind != kind) {
      compiler.error(at, "the shared memory zone \"" + std::string(name) +
                             "\" is already declared for a different use");
      return nullptr;
    }
    if (request.size == 0) request.size = size;
    if (size != 0 && size != request.size) {
      compiler.error(at, "the size " + std::to_string(size) + " of shared memory zone \"" +
                             std::string(name) + "\" conflicts with already declared size " +
                             std::to_string(request.size));
      return nullptr;
    }
    return zone;
  }
  ZoneRequest request;
  request.name = name;
  request.size = size;
  request.kind = kind;
  return zones_.emplace_back(std::make_shared<Zone>(std::move(request)));
}

const std::string* Registry::first_without_size() const {
  for (const auto& zone : zones_) {
    if (zone->request.size == 0) return &zone->request.name;
  }
  return nullptr;
}

std::optional<NameAndSize> read_name_and_size(conf::Compiler& compiler, const conf::Statement& at,
                                              const conf::Word& word, std::string_view value) {
  const size_t colon = value.find(':');
  const std::string text(word.text);
  const auto size = colon == value.npos ? std::nullopt : conf::parse_size(value.substr(colon + 1));
  if (!size || *size > kLargestZone) {
    compiler.error(at, "invalid zone size \"" + text + "\"",
                   "a zone is written name:size, such as one:10m", &word);
    return {};
  }
  if (*size < kSmallestZone) {
    compiler.error(at, "zone \"" + text + "\" is too small", "the smallest zone is 32k", &word);
    return {};
  }
  return NameAndSize{value.substr(0, colon), *size};
}

}  // namespace weir::zone
