#include "confparse/advice.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "confparse/nearest.h"
#include "confparse/value.h"

namespace weir::conf {

namespace {

constexpr std::string_view kTimeHelp =
    "a time is a number with a unit: ms, s, m, h, d, w, and M or y where seconds are counted; "
    "largest first (1h30m); without a unit it is seconds";
constexpr std::string_view kSizeHelp =
    "a size is a number of bytes, or of kilobytes (k) or megabytes (m)";
constexpr std::string_view kOffsetHelp =
    "a size is a number of bytes, or of kilobytes (k), megabytes (m) or gigabytes (g)";

// "30" and "sec" of "30sec"; false when it is not a number with letters behind it.
bool split_unit(std::string_view text, std::string_view& number, std::string& unit) {
  const size_t end = text.find_first_not_of("0123456789");
  if (end == 0 || end == text.npos) return false;
  number = text.substr(0, end);
  while (end < text.size() && text[end] == ' ') return false;
  unit = lower_case(text.substr(end));
  return true;
}

std::string meant(std::string_view wrong, std::string_view number, std::string_view unit) {
  return "\"" + std::string(wrong.substr(0, 40)) + "\" is written " + std::string(number) +
         std::string(unit) + "\n";
}

bool is_literal(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' ||
         c == '*' || c == '/' || c == ':';
}

// What a placeholder stands for.
std::string explain_type(std::string_view type, std::string_view wrong) {
  if (type == "TIME") return parse_milliseconds(wrong) ? "" : explain_time(wrong);
  if (type == "SIZE") return parse_size(wrong) ? "" : explain_size(wrong, false);
  if (type == "LENGTH") return parse_offset(wrong) ? "" : explain_size(wrong, true);
  if (type == "NUMBER") return parse_number(wrong) ? "" : explain_number(wrong);
  if (type == "RATE") return "a rate is a number of requests per second or minute: 10r/s, 30r/m";
  if (type == "PERCENT") return "a percentage such as 50% or 0.5%";
  if (type == "CODE") return "a status is a number of three digits such as 404";
  if (type == "VARIABLE" && !wrong.starts_with('$')) return "a variable's name begins with $";
  if (type == "URL" && wrong.find("://") == wrong.npos)
    return "a URL such as http://127.0.0.1:8080";
  return {};
}

std::string explain_types(std::string_view usage, std::string_view wrong) {
  for (size_t at = 0; at < usage.size();) {
    if (usage[at] < 'A' || usage[at] > 'Z') {
      ++at;
      continue;
    }
    const size_t begin = at;
    while (at < usage.size() && usage[at] >= 'A' && usage[at] <= 'Z') ++at;
    std::string help = explain_type(usage.substr(begin, at - begin), wrong);
    if (!help.empty()) return help;
  }
  return {};
}

// The part of the usage that the argument of this number is; brackets hold one part.
std::string_view usage_part(std::string_view usage, size_t index) {
  size_t part = 0;
  size_t begin = 0;
  int depth = 0;
  for (size_t at = 0; at <= usage.size(); ++at) {
    const char c = at < usage.size() ? usage[at] : ' ';
    depth += (c == '[') - (c == ']');
    if (c != ' ' || depth > 0) continue;
    // "off | TIME" is one part.
    const bool goes_on =
        usage.substr(at).starts_with(" |") || usage.substr(begin, at - begin).ends_with('|');
    if (goes_on && at < usage.size()) continue;
    if (part++ == index || at >= usage.size()) return usage.substr(begin, at - begin);
    begin = at + 1;
  }
  return {};
}

std::string with_value(const UsageParameter& parameter) {
  return parameter.value.empty()
             ? quoted(parameter.name)
             : quoted(std::string(parameter.name) + "=" + std::string(parameter.value));
}

}  // namespace

std::string explain_time(std::string_view wrong) {
  static constexpr std::pair<std::string_view, std::string_view> kUnits[] = {
      {"sec", "s"},   {"secs", "s"},   {"second", "s"},  {"seconds", "s"}, {"min", "m"},
      {"mins", "m"},  {"minute", "m"}, {"minutes", "m"}, {"hr", "h"},      {"hour", "h"},
      {"hours", "h"}, {"day", "d"},    {"days", "d"},    {"week", "w"},    {"weeks", "w"},
      {"msec", "ms"}, {"millis", "ms"}};
  std::string help;
  std::string_view number;
  std::string unit;
  if (wrong.find('.') != wrong.npos) {
    help = "there are no fractions: 1.5s is written 1500ms\n";
  } else if (split_unit(wrong, number, unit)) {
    for (const auto& [written, right] : kUnits) {
      if (unit == written) help = meant(wrong, number, right);
    }
    if (help.empty() && lower_case(unit) != unit) help = meant(wrong, number, lower_case(unit));
  } else if (wrong.starts_with('-')) {
    help = "a time has no sign\n";
  }
  return help + std::string(kTimeHelp);
}

std::string explain_size(std::string_view wrong, bool giga) {
  std::string help;
  std::string_view number;
  std::string unit;
  if (wrong.find('.') != wrong.npos) {
    help = "there are no fractions: 1.5m is written 1536k\n";
  } else if (split_unit(wrong, number, unit)) {
    if (unit == "kb" || unit == "kib") help = meant(wrong, number, "k");
    if (unit == "mb" || unit == "mib") help = meant(wrong, number, "m");
    if (unit == "g" || unit == "gb" || unit == "gib") {
      const auto value = parse_number(number);
      if (giga) help = meant(wrong, number, "g");
      if (!giga && value && *value < 1'000'000) {
        help = meant(wrong, std::to_string(*value * 1024), "m");
      }
    }
    if (unit == "b") help = meant(wrong, number, "");
  } else if (wrong.starts_with('-')) {
    help = "a size has no sign\n";
  }
  return help + std::string(giga ? kOffsetHelp : kSizeHelp);
}

std::string explain_number(std::string_view wrong) {
  std::string help = "a number has digits only";
  if (wrong.starts_with('-') || wrong.starts_with('+')) help += ", no sign";
  if (wrong.find('.') != wrong.npos) help += ", no fraction";
  std::string_view number;
  std::string unit;
  if (split_unit(wrong, number, unit)) help += ", no unit";
  return help;
}

std::string explain_flag(std::string_view wrong) {
  const std::string word = lower_case(wrong);
  for (const std::string_view yes : {"yes", "true", "1", "enable", "enabled", "y"}) {
    if (word == yes) return "write on";
  }
  for (const std::string_view no : {"no", "false", "0", "disable", "disabled", "none", "n"}) {
    if (word == no) return "write off";
  }
  return "it is switched on or off, nothing else";
}

std::string explain_choice(std::string_view wrong, const std::vector<std::string_view>& words) {
  Nearest nearest(wrong, Nearest::Likeness::shortened);
  for (const std::string_view word : words) nearest.consider(word);
  std::string text;
  if (nearest.found()) text = "did you mean " + quoted(nearest.best()) + "? ";
  text += nearest.found() ? "It must be " : "it must be ";
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += quoted(words[i]);
  }
  return text;
}

std::vector<UsageParameter> usage_parameters(std::string_view words) {
  std::vector<UsageParameter> result;
  for (size_t at = 0; at < words.size();) {
    const bool begins =
        (words[at] >= 'a' && words[at] <= 'z') &&
        (at == 0 || words[at - 1] == ' ' || words[at - 1] == '[' || words[at - 1] == '|');
    if (!begins) {
      ++at;
      continue;
    }
    const size_t begin = at;
    while (at < words.size() && is_literal(words[at])) ++at;
    UsageParameter parameter{words.substr(begin, at - begin), {}};
    const size_t equals =
        words.substr(at).starts_with("[=") ? 2 : words.substr(at).starts_with('=');
    if (equals > 0) {
      const size_t value = at + equals;
      int depth = equals == 2 ? 1 : 0;
      for (at = value; at < words.size() && words[at] != ' '; ++at) {
        depth += (words[at] == '[') - (words[at] == ']');
        if (depth < (equals == 2 ? 1 : 0)) break;
      }
      parameter.value = words.substr(value, at - value);
    } else if (at < words.size() && words[at] >= 'A' && words[at] <= 'Z') {
      continue;  // "unix:PATH", "zone:NAME"
    }
    result.push_back(parameter);
  }
  return result;
}

std::string explain_argument(std::string_view usage, std::string_view wrong, size_t index) {
  const size_t equals = wrong.find('=');
  const std::string_view name = wrong.substr(0, equals);
  const std::vector<UsageParameter> parameters = usage_parameters(usage);
  for (const UsageParameter& parameter : parameters) {
    if (parameter.name != name) continue;
    const std::string_view value = parameter.value;
    if (equals == wrong.npos) {
      return value.empty() ? std::string()
                           : quoted(name) + " needs a value: " + with_value(parameter);
    }
    if (value.empty()) return quoted(name) + " takes no value";
    std::string help = explain_types(value, wrong.substr(equals + 1));
    return help.empty() ? "it is written " + with_value(parameter) : help;
  }
  Nearest nearest(name, Nearest::Likeness::shortened);
  const UsageParameter* best = nullptr;
  for (const UsageParameter& parameter : parameters) {
    if (nearest.consider(parameter.name)) best = &parameter;
  }
  if (best) return "did you mean " + with_value(*best) + "?";
  std::string help = explain_types(usage_part(usage, index), wrong);
  // "[modified] TIME | off": a number is meant for the value that is one.
  const bool number = wrong.find_first_of("0123456789") == 0;
  if (help.empty() && number) help = explain_types(usage, wrong);
  return help;
}

std::string explain_message(std::string_view text) {
  static constexpr std::pair<std::string_view, std::string_view> kBegin[] = {
      {"invalid port range in", "a range of ports is written 8000-8010, the smaller one first"},
      {"invalid port in", "a port is a number from 1 to 65535"},
      {"no host in", "a name or an address must stand there"},
      {"invalid host in",
       "a host is a name, an IPv4 address, an IPv6 address in brackets ([::1]) or unix:/path"},
      {"invalid IPv6 address in", "an IPv6 address is written in brackets: [::1]:80"},
      {"no path in the unix domain socket", "it is written unix:/path/of/the.socket"},
      {"too long path in the unix", "the path of a unix socket has at most 107 bytes"},
      {"host not found in",
       "names are looked up when the configuration is read: is it spelt right, and does this "
       "machine's name server know it?"},
      {"invalid URL prefix", "it begins with http:// or https://"},
      {"the duplicate ", "a variable of this name is there already: choose another name"},
      {"cannot load certificate key ",
       "a file in PEM form that begins with \"-----BEGIN ... KEY-----\""},
      {"cannot load certificate ",
       "a file in PEM form that begins with \"-----BEGIN CERTIFICATE-----\""},
  };
  static constexpr std::pair<std::string_view, std::string_view> kInside[] = {
      {"No such file or directory",
       "there is no such file or folder: create it, or correct the path"},
      {"Permission denied", "it is there, but this user may not open it"},
      {"quantifier does not follow",
       "\"*\", \"+\" and \"?\" repeat what stands before them: any text is \".*\", the sign itself "
       "\"\\*\""},
      {"missing closing parenthesis", "a \"(\" opens a group; the sign itself is written \"\\(\""},
      {"unmatched closing parenthesis",
       "a \")\" without its \"(\"; the sign itself is written \"\\)\""},
      {"syntax error in subpattern name", "a named group is written (?<name>...)"},
      {"missing terminating ]",
       "a \"[\" opens a set of letters; the sign itself is written \"\\[\""},
      {"range out of order",
       "in a set of letters \"-\" makes a range: put it first or last, or write \"\\-\""},
  };
  if (text.starts_with("invalid host in") && text.find("://") != text.npos) {
    return "an address has no scheme here: leave \"http://\" out, and any path";
  }
  for (const auto& [inside, help] : kInside) {
    if (text.find(inside) != text.npos) return std::string(help);
  }
  for (const auto& [begin, help] : kBegin) {
    if (text.starts_with(begin)) return std::string(help);
  }
  return {};
}

}  // namespace weir::conf
