#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::upstream {

// A SRV record (RFC 2782).
struct ServiceRecord {
  std::string target;  // without a final dot, as written; empty: the service is not offered
  uint16_t port = 0;
  uint16_t priority = 0;
  uint16_t weight = 0;
};

struct ServiceAnswer {
  bool ok = false;  // false: what came is no DNS answer
  std::vector<ServiceRecord> records;
  uint32_t lifetime_seconds = UINT32_MAX;  // the shortest of the records that lead here
};

// More records than this are left away.
inline constexpr size_t kMostServiceRecords = 64;

// The SRV records of a DNS answer with one question, also behind CNAMEs. Reads no more than it is
// given; any bytes may come.
ServiceAnswer parse_service_answer(const unsigned char* data, size_t size);

// The name whose SRV records are those of a service (`server HOST service=SERVICE`).
std::string service_name(const std::string& host, const std::string& service);

}  // namespace weir::upstream
