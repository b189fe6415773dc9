#include "confparse/bundle_codec.h"
#include "confparse/worlds.h"

namespace weir::conf {

namespace {
constexpr uint32_t kMagic = 0x77626e31;  // "1nbw"
}

const std::string* Bundle::find(const std::string& key) const {
  const auto found = answers_.find(key);
  return found == answers_.end() ? nullptr : &found->second;
}

std::string Bundle::serialize() const {
  ByteWriter writer;
  writer.put(kMagic);
  writer.put(static_cast<uint32_t>(answers_.size()));
  for (const auto& [key, answer] : answers_) {
    writer.put(key);
    writer.put(answer);
  }
  return writer.take();
}

bool Bundle::parse(std::string_view bytes, Bundle& out) {
  out.answers_.clear();
  ByteReader reader(bytes);
  uint32_t magic = 0;
  uint32_t count = 0;
  if (!reader.get(magic) || magic != kMagic || !reader.get(count)) return false;
  for (uint32_t i = 0; i < count; ++i) {
    std::string key;
    std::string answer;
    if (!reader.get(key) || !reader.get(answer)) {
      out.answers_.clear();
      return false;
    }
    out.answers_.emplace(std::move(key), std::move(answer));
  }
  if (reader.done()) return true;
  out.answers_.clear();
  return false;
}

}  // namespace weir::conf
