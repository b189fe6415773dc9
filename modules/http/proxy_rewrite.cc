#include <algorithm>
#include <optional>
#include <vector>

#include "confparse/value.h"
#include "modules/http/proxy.h"

// Location, Refresh and Set-Cookie of responses.
namespace weir::http::proxy {
namespace {

// `value` from `from`, `count` bytes of it, replaced.
std::string_view replace(Request& request, std::string_view value, size_t from, size_t count,
                         std::string_view replacement) {
  ArenaText text(request.arena(), value.size() + replacement.size());
  text.append(value.substr(0, from));
  text.append(replacement);
  text.append(value.substr(from + count));
  return text.view();
}

// The rest of `value` from `from` on, by the first rule that fits it: an expression replaces it
// all, a text its beginning.
std::optional<std::string_view> rewrite_beginning(Request& request,
                                                  const std::vector<RewriteRule>& rules,
                                                  std::string_view value, size_t from) {
  const std::string_view subject = value.substr(from);
  for (const RewriteRule& rule : rules) {
    if (rule.match.pattern) {
      if (!request.match(*rule.match.pattern, subject)) continue;
      return replace(request, value, from, subject.size(), rule.replacement.evaluate(request));
    }
    const std::string_view text = rule.match.text.evaluate(request);
    if (!subject.starts_with(text)) continue;
    return replace(request, value, from, text.size(), rule.replacement.evaluate(request));
  }
  return std::nullopt;
}

size_t find_without_case(std::string_view text, std::string_view what) {
  for (size_t i = 0; i + what.size() <= text.size(); ++i) {
    if (conf::equal_without_case(text.substr(i, what.size()), what)) return i;
  }
  return std::string_view::npos;
}

std::optional<std::string_view> rewrite_domain(Request& request,
                                               const std::vector<RewriteRule>& rules,
                                               std::string_view value) {
  for (const RewriteRule& rule : rules) {
    if (rule.match.pattern) {
      if (!request.match(*rule.match.pattern, value)) continue;
      return rule.replacement.evaluate(request);
    }
    const size_t from = value.starts_with('.') ? 1 : 0;
    if (!conf::equal_without_case(value.substr(from), rule.match.text.evaluate(request))) continue;
    return replace(request, value, from, value.size() - from, rule.replacement.evaluate(request));
  }
  return std::nullopt;
}

struct Attribute {
  std::string_view key;
  std::string_view value;
  bool has_value = false;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::vector<Attribute> parse_cookie(std::string_view text) {
  std::vector<Attribute> attributes;
  while (true) {
    const size_t end = text.find(';');
    const std::string_view piece = text.substr(0, end);
    const size_t equals = piece.find('=');
    Attribute attribute;
    attribute.key = trim(piece.substr(0, equals));
    if (equals != std::string_view::npos) {
      attribute.value = trim(piece.substr(equals + 1));
      attribute.has_value = true;
    }
    attributes.push_back(attribute);  // empty ones too: they stay
    if (end == std::string_view::npos) return attributes;
    text.remove_prefix(end + 1);
  }
}

void remove_attribute(std::vector<Attribute>& attributes, std::string_view key) {
  for (size_t i = attributes.size(); i-- > 1;) {
    if (conf::equal_without_case(attributes[i].key, key)) {
      attributes.erase(attributes.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

void apply_flag(Request& request, std::vector<Attribute>& attributes, std::string_view flag) {
  struct Known {
    std::string_view flag;
    std::string_view key;
    std::string_view value;
    bool add;
  };
  static constexpr Known kFlags[] = {
      {"secure", "Secure", "", true},
      {"nosecure", "Secure", "", false},
      {"httponly", "HttpOnly", "", true},
      {"nohttponly", "HttpOnly", "", false},
      {"samesite=strict", "SameSite", "Strict", true},
      {"samesite=lax", "SameSite", "Lax", true},
      {"samesite=none", "SameSite", "None", true},
      {"nosamesite", "SameSite", "", false},
  };
  for (const Known& known : kFlags) {
    if (!conf::equal_without_case(known.flag, flag)) continue;
    const Attribute wanted{known.key, known.value, !known.value.empty()};
    // One that is there keeps its place.
    const auto at = std::find_if(attributes.begin() + 1, attributes.end(), [&](const Attribute& a) {
      return conf::equal_without_case(a.key, known.key);
    });
    if (!known.add) {
      remove_attribute(attributes, known.key);
    } else if (at != attributes.end()) {
      if (wanted.has_value) *at = wanted;
    } else {
      attributes.push_back(wanted);
    }
    return;
  }
  request.log(Severity::error, "invalid proxy_cookie_flags flag \"" + std::string(flag) + "\"");
}

bool apply_flags(Request& request, const std::vector<CookieFlagRule>& rules,
                 std::vector<Attribute>& attributes) {
  for (const CookieFlagRule& rule : rules) {
    const std::string_view name = attributes[0].key;
    if (rule.match.pattern ? !request.match(*rule.match.pattern, name)
                           : !conf::equal_without_case(rule.match.text.evaluate(request), name)) {
      continue;
    }
    for (const conf::Template& flag : rule.flags) {
      apply_flag(request, attributes, flag.evaluate(request));
    }
    return true;
  }
  return false;
}

std::string_view rewrite_cookie(Request& request, const ProxySettings& settings,
                                std::string_view value) {
  if (settings.cookie_domain.rules.empty() && settings.cookie_path.rules.empty() &&
      settings.cookie_flags.rules.empty()) {
    return value;
  }
  std::vector<Attribute> attributes = parse_cookie(value);
  if (!attributes[0].has_value) return value;
  bool changed = false;
  for (size_t i = 1; i < attributes.size(); ++i) {
    Attribute& attribute = attributes[i];
    std::optional<std::string_view> now;
    if (conf::equal_without_case(attribute.key, "domain") && attribute.has_value) {
      now = rewrite_domain(request, settings.cookie_domain.rules, attribute.value);
    } else if (conf::equal_without_case(attribute.key, "path") && attribute.has_value) {
      now = rewrite_beginning(request, settings.cookie_path.rules, attribute.value, 0);
    }
    if (!now) continue;
    attribute.value = *now;
    changed = true;
  }
  changed |= apply_flags(request, settings.cookie_flags.rules, attributes);
  if (!changed) return value;
  ArenaText text(request.arena(), value.size() + 64);
  for (size_t i = 0; i < attributes.size(); ++i) {
    if (i) text.append("; ");
    text.append(attributes[i].key);
    if (!attributes[i].has_value) continue;
    text.push_back('=');
    text.append(attributes[i].value);
  }
  return text.view();
}

}  // namespace

std::string_view rewrite(Request& request, const ProxySettings& settings, const Header& header) {
  const std::string_view value = header.value;
  switch (header.id) {
    case HeaderId::location:
      return rewrite_beginning(request, settings.redirect.rules, value, 0).value_or(value);
    case HeaderId::refresh: {
      const size_t at = find_without_case(value, "url=");
      const size_t from = at == std::string_view::npos ? 0 : at + 4;
      return rewrite_beginning(request, settings.redirect.rules, value, from).value_or(value);
    }
    case HeaderId::set_cookie:
      return rewrite_cookie(request, settings, value);
    default:
      return value;
  }
}

}  // namespace weir::http::proxy
