#include "tests/engine/http/h2/frame_reader.h"

#include <nghttp2/nghttp2.h>

#include <utility>

#include "engine/http/h2/codec.h"

namespace weir::http::h2::test {
namespace {

uint32_t number(std::string_view text) {
  uint32_t value = 0;
  for (char c : text) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string settings(std::string_view payload) {
  std::string text;
  for (; payload.size() >= 6; payload.remove_prefix(6)) {
    const uint32_t id = number(payload.substr(0, 2));
    std::string name = std::to_string(id);
    for (const auto& [known, value] : kSettingNames) {
      if (value == id) name = known;
    }
    text += " " + name + "=" + std::to_string(number(payload.substr(2, 4)));
  }
  return text;
}

}  // namespace

struct FrameReader::Inflater {
  nghttp2_hd_inflater* native = nullptr;
};

FrameReader::FrameReader() : inflater_(new Inflater) {
  nghttp2_hd_inflate_new(&inflater_->native);
}

FrameReader::~FrameReader() {
  nghttp2_hd_inflate_del(inflater_->native);
  delete inflater_;
}

std::string FrameReader::fields(std::string_view block) {
  std::string text;
  const auto* at = reinterpret_cast<const uint8_t*>(block.data());
  size_t left = block.size();
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_->native, &field, &flags, at, left, 1);
    if (used < 0) return text + " (broken)";
    at += used;
    left -= static_cast<size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      text += " ";
      text.append(reinterpret_cast<const char*>(field.name), field.namelen);
      text += (field.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0 ? "!=" : "=";
      text.append(reinterpret_cast<const char*>(field.value), field.valuelen);
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_->native);
  return text;
}

std::vector<std::string> FrameReader::read(std::string& bytes) {
  std::vector<std::string> frames;
  auto code = [](std::string_view text) {
    const uint32_t value = number(text);
    return value < kErrorNames.size() ? std::string(kErrorNames[value]) : std::to_string(value);
  };
  if (bytes.starts_with(kPreface)) bytes.erase(0, kPreface.size());
  while (bytes.size() >= 9) {
    const uint32_t length = number(std::string_view(bytes).substr(0, 3));
    if (bytes.size() < 9 + length) break;
    const auto type = static_cast<unsigned char>(bytes[3]);
    const auto flags = static_cast<unsigned char>(bytes[4]);
    const std::string stream =
        std::to_string(number(std::string_view(bytes).substr(5, 4)) & 0x7fffffff);
    const std::string payload = bytes.substr(9, length);
    const std::string_view view = payload;
    bytes.erase(0, 9 + length);
    const std::string end = (flags & 1) != 0 ? " end" : "";
    switch (type) {
      case 0:
        frames.push_back("data " + stream + end + " " + std::to_string(length));
        break;
      case 1:
      case 9:
        if (type == 1) end_ = end;
        block_ += payload;
        if ((flags & 4) == 0) break;
        frames.push_back("headers " + stream + end_ + fields(std::exchange(block_, {})));
        break;
      case 3:
        frames.push_back("rst " + stream + " " + code(view));
        break;
      case 4:
        frames.push_back((flags & 1) != 0 ? "settings ack" : "settings" + settings(payload));
        break;
      case 6:
        frames.push_back((flags & 1) != 0 ? "ping ack " + payload : "ping");
        break;
      case 7:
        frames.push_back("goaway " + std::to_string(number(view.substr(0, 4))) + " " +
                         code(view.substr(4, 4)));
        break;
      case 8:
        frames.push_back("window " + stream + " " + std::to_string(number(view)));
        break;
      default:
        frames.push_back("frame " + std::to_string(type));
        break;
    }
  }
  return frames;
}

}  // namespace weir::http::h2::test
