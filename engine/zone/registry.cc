#include "engine/zone/registry.h"

#include "confparse/nearest.h"
#include "confparse/value.h"

namespace weir::zone {

namespace {

const conf::Word* word_with(const conf::Statement& at, std::string_view name) {
  for (const conf::Word& word : at.words.subspan(1)) {
    if (word.text.find(name) != word.text.npos) return &word;
  }
  return nullptr;
}

}  // namespace

std::shared_ptr<Zone> Registry::declare(conf::Compiler& compiler, const conf::Statement& at,
                                        std::string_view name, uint64_t size,
                                        std::string_view kind) {
  for (const auto& zone : zones_) {
    ZoneRequest& request = zone->request;
    if (request.name != name) continue;
    if (request.kind != kind) {
      compiler.error(at,
                     "the shared memory zone \"" + std::string(name) +
                         "\" is already declared for a different use",
                     "zones of different kinds need different names", word_with(at, name));
      return nullptr;
    }
    if (request.size == 0) request.size = size;
    if (size != 0 && size != request.size) {
      compiler.error(at,
                     "the size " + std::to_string(size) + " of shared memory zone \"" +
                         std::string(name) + "\" conflicts with already declared size " +
                         std::to_string(request.size),
                     "a zone has one size, wherever it is declared", word_with(at, name));
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

std::string Registry::help_without_size(const std::string& name) const {
  conf::Nearest nearest(name);
  std::string directive = "a zone= with a size";
  for (const auto& zone : zones_) {
    if (zone->request.name == name) {
      for (const char* kind : {"limit_req", "limit_conn"}) {
        if (zone->request.kind.find(kind) != std::string::npos)
          directive = std::string("a ") + kind + "_zone";
      }
    } else {
      nearest.consider(zone->request.name);
    }
  }
  std::string help = "the zone is used here, but " + directive + " that declares it is missing";
  if (nearest.found()) help = "did you mean \"" + nearest.best() + "\"? " + help;
  return help;
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
