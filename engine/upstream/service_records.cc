#include "engine/upstream/service_records.h"

#include <ares.h>
#include <arpa/nameser.h>

#include <algorithm>

namespace weir::upstream {

namespace {

constexpr size_t kHeader = 12;
constexpr size_t kFixed = 10;  // type, class, time to live, length of a record
constexpr size_t kServiceFixed = 6;
constexpr uint32_t kLargestLifetime = 0x7fffffff;  // RFC 2181 section 8

class Reader {
 public:
  Reader(const unsigned char* data, size_t size) : data_(data), size_(size), at_(kHeader) {}
  size_t left() const { return size_ - at_; }
  size_t at() const { return at_; }
  void skip(size_t count) { at_ += count; }
  uint16_t number16(size_t offset) const {
    return static_cast<uint16_t>(data_[offset] << 8 | data_[offset + 1]);
  }
  uint32_t number32(size_t offset) const {
    return static_cast<uint32_t>(number16(offset)) << 16 | number16(offset + 2);
  }
  // A name; false when there is none.
  bool name(size_t offset, std::string& text, size_t& length) const {
    char* expanded = nullptr;
    long taken = 0;
    if (offset >= size_) return false;
    if (ares_expand_name(data_ + offset, data_, static_cast<int>(size_), &expanded, &taken) !=
        ARES_SUCCESS) {
      return false;
    }
    text = expanded;
    ares_free_string(expanded);
    length = static_cast<size_t>(taken);
    return taken > 0 && length <= size_ - offset;
  }

 private:
  const unsigned char* data_;
  size_t size_;
  size_t at_;
};

// One record of the answer section. False: it is broken.
bool read_record(Reader& reader, ServiceAnswer& answer) {
  std::string owner;
  size_t length = 0;
  if (!reader.name(reader.at(), owner, length)) return false;
  reader.skip(length);
  if (reader.left() < kFixed) return false;
  const uint16_t type = reader.number16(reader.at());
  const uint16_t kind = reader.number16(reader.at() + 2);
  uint32_t lifetime = reader.number32(reader.at() + 4);
  if (lifetime > kLargestLifetime) lifetime = 0;
  const size_t size = reader.number16(reader.at() + 8);
  reader.skip(kFixed);
  if (reader.left() < size) return false;
  const size_t begin = reader.at();
  reader.skip(size);
  if (kind != ns_c_in || (type != ns_t_srv && type != ns_t_cname)) return true;
  answer.lifetime_seconds = std::min(answer.lifetime_seconds, lifetime);
  if (type != ns_t_srv || answer.records.size() >= kMostServiceRecords) return true;
  if (size <= kServiceFixed) return false;
  ServiceRecord record;
  record.priority = reader.number16(begin);
  record.weight = reader.number16(begin + 2);
  record.port = reader.number16(begin + 4);
  if (!reader.name(begin + kServiceFixed, record.target, length)) return false;
  if (length > size - kServiceFixed) return false;
  answer.records.push_back(std::move(record));
  return true;
}

}  // namespace

ServiceAnswer parse_service_answer(const unsigned char* data, size_t size) {
  ServiceAnswer answer;
  if (size < kHeader || size > UINT16_MAX) return answer;
  Reader reader(data, size);
  if (reader.number16(4) != 1) return answer;
  std::string name;
  size_t length = 0;
  if (!reader.name(reader.at(), name, length)) return answer;
  reader.skip(length);
  if (reader.left() < 4) return answer;
  reader.skip(4);
  const size_t count = reader.number16(6);
  for (size_t i = 0; i < count; ++i) {
    if (!read_record(reader, answer)) return answer;
  }
  answer.ok = true;
  return answer;
}

std::string service_name(const std::string& host, const std::string& service) {
  if (service.find('.') != service.npos) return service + "." + host;
  return "_" + service + "._tcp." + host;
}

}  // namespace weir::upstream
