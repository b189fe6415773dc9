#pragma once

#include <cstdint>
#include <string_view>

#include "engine/http/request_body.h"

namespace weir::http {

// Base64 in pieces (RFC 4648 section 4): groups of four characters, padding allowed at the end of
// any group, since a stream may be several encoded texts in a row.
class Base64Decoder {
 public:
  // Appends what `text` gives to `out`; the rest of an unfinished group waits. False: not base64.
  bool decode(std::string_view text, Chain& out);
  // Is a group begun and not finished?
  bool unfinished() const { return count_ != 0; }

 private:
  uint32_t group_ = 0;
  uint8_t count_ = 0;    // characters of the group so far
  uint8_t padding_ = 0;  // of them '='
};

// The data as base64, padded to whole groups. What is in files must have been read into memory.
Chain encode_base64(Chain&& data);

// A request body that comes as base64, decoded for whoever reads it. Made in the request's arena;
// `inner` lives as long.
class Base64Body final : public RequestBody {
 public:
  explicit Base64Body(RequestBody& inner);

  Task<int> read_all(Request& request) override;
  const Chain& stored() const override { return stored_; }
  uint64_t stored_bytes() const override { return stored_.bytes(); }
  std::string_view temp_file_name() const override { return inner_.temp_file_name(); }
  void begin_streaming(Request& request) override { inner_.begin_streaming(request); }
  Chain& arrived() override;
  void consumed(size_t bytes) override;
  bool ended() const override;
  int error() const override;
  const HeaderList& trailers() const override { return inner_.trailers(); }
  void discard() override { inner_.discard(); }

 private:
  bool decode(Chain& from, Chain& to) const;
  // Decodes what has come. Whoever asks first, for data or for an error, makes it happen.
  void pull() const;

  RequestBody& inner_;
  mutable Base64Decoder decoder_;
  mutable Chain arrived_;
  Chain stored_;
  // Credit is counted in encoded bytes.
  mutable uint64_t encoded_ = 0, decoded_ = 0;
  uint64_t consumed_ = 0, credited_ = 0;
  mutable bool broken_ = false;
};

}  // namespace weir::http
