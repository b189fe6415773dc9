#include "tests/engine/http/h2/frame_script.h"

#include <array>
#include <cstdlib>
#include <map>
#include <sstream>

#include "engine/http/h2/codec.h"
#include "tests/engine/http/h2/frame_reader.h"

namespace weir::http::h2::test {
namespace {

uint32_t error_code(const std::string& name) {
  for (size_t i = 0; i < kErrorNames.size(); ++i) {
    if (name == kErrorNames[i]) return static_cast<uint32_t>(i);
  }
  return static_cast<uint32_t>(std::stoul(name, nullptr, 0));
}

std::string big_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i) & 255));
  return text;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string text = big_endian(payload.size(), 3);
  text.push_back(static_cast<char>(type));
  text.push_back(static_cast<char>(flags));
  text += big_endian(stream, 4);
  text += payload;
  return text;
}

// RFC 7541 section 5.1 with a prefix of 7 bits, no Huffman.
std::string literal(std::string_view text) {
  std::string out;
  if (text.size() < 127) {
    out.push_back(static_cast<char>(text.size()));
  } else {
    out.push_back(127);
    size_t rest = text.size() - 127;
    while (rest >= 128) {
      out.push_back(static_cast<char>(rest % 128 + 128));
      rest /= 128;
    }
    out.push_back(static_cast<char>(rest));
  }
  return out += text;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      const char c = text[++i];
      if (c == 'x' && i + 2 < text.size()) {
        out.push_back(
            static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
        i += 2;
      } else {
        out.push_back(c == 'n' ? '\n' : c == 'r' ? '\r' : c == '0' ? '\0' : c);
      }
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string hex(std::istream& words) {
  std::string out, word;
  while (words >> word) {
    if (word.front() == '"') {
      out += unescape(word.substr(1, word.size() - 2));
    } else {
      for (size_t i = 0; i + 1 < word.size(); i += 2) {
        out.push_back(static_cast<char>(std::stoi(word.substr(i, 2), nullptr, 16)));
      }
    }
  }
  return out;
}

// "name=value | name=value", "raw HEX", "%500 letters" as *500 in a value.
std::string header_block(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t bar = text.find(" | ");
    std::string_view field = text.substr(0, bar);
    text = bar == std::string_view::npos ? std::string_view() : text.substr(bar + 3);
    while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
    while (!field.empty() && field.back() == ' ') field.remove_suffix(1);
    if (field.empty()) continue;
    if (field.starts_with("raw ")) {
      std::istringstream words{std::string(field.substr(4))};
      out += hex(words);
      continue;
    }
    const size_t equals = field.find('=', 1);
    std::string name = unescape(field.substr(0, equals));
    std::string value(equals == std::string_view::npos ? std::string_view()
                                                       : field.substr(equals + 1));
    if (value.starts_with("*")) {
      value.assign(static_cast<size_t>(std::stoul(value.substr(1))), 'v');
    } else {
      value = unescape(value);
    }
    out.push_back(0);
    out += literal(name) + literal(value);
  }
  return out;
}

struct Options {
  bool end = false, more = false, priority = false, ack = false;
  int pad = -1;
  uint64_t size = 0;
  bool has_size = false;
  std::string rest;
};

Options options(std::istream& words) {
  Options read;
  std::string word;
  while (words >> word) {
    if (word == "end") {
      read.end = true;
    } else if (word == "more") {
      read.more = true;
    } else if (word == "priority") {
      read.priority = true;
    } else if (word == "ack") {
      read.ack = true;
    } else if (word.starts_with("pad=")) {
      read.pad = std::stoi(word.substr(4));
    } else if (word.starts_with("size=")) {
      read.size = std::stoul(word.substr(5));
      read.has_size = true;
    } else {
      std::getline(words, read.rest);
      read.rest = word == ":" ? read.rest : word + read.rest;
    }
  }
  return read;
}

std::string compile(const std::string& line, std::string& problem) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  uint32_t stream = 0;
  if (word == "preface") return std::string(kPreface);
  if (word == "bytes") return hex(words);
  if (word == "settings") {
    std::string payload;
    uint8_t flags = 0;
    while (words >> word) {
      const size_t equals = word.find('=');
      if (word == "ack") {
        flags = 1;
      } else if (word.starts_with("stream=")) {
        stream = static_cast<uint32_t>(std::stoul(word.substr(7)));
      } else {
        const std::string name = word.substr(0, equals);
        const auto known = kSettingNames.find(name);
        const uint64_t id =
            known != kSettingNames.end() ? known->second : std::stoul(name, nullptr, 0);
        payload += big_endian(id, 2) + big_endian(std::stoul(word.substr(equals + 1)), 4);
      }
    }
    return frame(4, flags, stream, payload);
  }
  if (word == "ping") {
    const Options read = options(words);
    return frame(6, read.ack ? 1 : 0, 0, read.rest.empty() ? "pingping" : read.rest);
  }
  if (word == "frame") {
    std::string type, flags;
    words >> type >> flags >> stream;
    return frame(static_cast<uint8_t>(std::stoul(type, nullptr, 0)),
                 static_cast<uint8_t>(std::stoul(flags, nullptr, 0)), stream, hex(words));
  }
  if (word == "goaway") {
    std::string code;
    words >> stream >> code;
    return frame(7, 0, 0, big_endian(stream, 4) + big_endian(error_code(code), 4));
  }
  const std::string kind = word;
  words >> stream;
  if (kind == "rst") {
    words >> word;
    return frame(3, 0, stream, big_endian(error_code(word), 4));
  }
  if (kind == "window") {
    uint32_t increment = 0;
    words >> increment;
    return frame(8, 0, stream, big_endian(increment, 4));
  }
  if (kind == "priority") {
    uint32_t parent = 0;
    words >> parent;
    return frame(2, 0, stream, big_endian(parent, 4) + '\x0f');
  }
  const Options read = options(words);
  if (kind == "headers" || kind == "continuation") {
    std::string payload = read.priority ? std::string("\0\0\0\0\x0f", 5) : std::string();
    payload += header_block(read.rest);
    uint8_t flags = static_cast<uint8_t>((read.end ? 1 : 0) | (read.more ? 0 : 4) |
                                         (read.priority ? 32 : 0) | (read.pad >= 0 ? 8 : 0));
    if (read.pad >= 0) {
      payload.insert(0, 1, static_cast<char>(read.pad));
      payload.append(static_cast<size_t>(read.pad), '\0');
    }
    return frame(kind == "headers" ? 1 : 9, flags, stream, payload);
  }
  if (kind == "data") {
    std::string payload = read.has_size ? std::string(read.size, 'd') : unescape(read.rest);
    if (read.pad >= 0) {
      payload.insert(0, 1, static_cast<char>(read.pad));
      payload.append(static_cast<size_t>(read.pad), '\0');
    }
    return frame(0, static_cast<uint8_t>((read.end ? 1 : 0) | (read.pad >= 0 ? 8 : 0)), stream,
                 payload);
  }
  problem = "unknown line: " + line;
  return {};
}

std::string with_number(std::string line, int number) {
  for (size_t at; (at = line.find("%n")) != std::string::npos;) {
    line.replace(at, 2, std::to_string(number));
  }
  return line;
}

const std::map<std::string, Step::Kind> kKinds = {
    {"role", Step::Kind::role},     {"option", Step::Kind::option}, {"expect", Step::Kind::expect},
    {"time", Step::Kind::time},     {"quiet", Step::Kind::quiet},   {"heard", Step::Kind::heard},
    {"closed", Step::Kind::closed}, {"do", Step::Kind::act},
};

}  // namespace

std::vector<Step> parse_script(std::string_view text, std::string& problem) {
  std::vector<Step> steps;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    Step step;
    step.line = number;
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (const auto kind = kKinds.find(word); kind != kKinds.end()) {
      step.kind = kind->second;
      std::getline(words, step.bytes);
      if (!step.bytes.empty()) step.bytes.erase(0, 1);
    } else if (word == "repeat") {
      int count = 0;
      words >> count;
      std::string what;
      std::getline(words, what);
      what.erase(0, 1);
      const size_t half = what.find(" ; ");
      for (int i = 0; i < count; ++i) {
        step.bytes += compile(with_number(what.substr(0, half), 2 * i + 1), problem);
        if (half == std::string::npos) continue;
        step.bytes += compile(with_number(what.substr(half + 3), 2 * i + 1), problem);
      }
    } else {
      step.bytes = compile(line, problem);
    }
    if (!problem.empty()) {
      problem = "line " + std::to_string(number) + ": " + problem;
      return {};
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string bytes_of(const std::vector<Step>& steps) {
  std::string all;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::send) all += step.bytes;
  }
  return all;
}

}  // namespace weir::http::h2::test
