#include "modules/shared/resolver.h"

#include "confparse/address.h"
#include "confparse/value.h"
#include "engine/net/address.h"
#include "engine/upstream/resolver.h"

namespace weir::shared {

bool read_resolver(conf::Compiler& compiler, const conf::Statement& statement, bool may_be_off,
                   std::vector<std::string>& words) {
  if (may_be_off && statement.argument_count() == 1 && statement.argument(0) == "off") {
    words.emplace_back("off");
    return true;
  }
  bool system = true;
  bool ipv4 = true;
  bool ipv6 = true;
  for (const conf::Word& word : statement.words.subspan(1)) {
    const std::string_view text = word.text;
    const bool is_valid = text.starts_with("valid=");
    const bool is_family = text.starts_with("ipv4=") || text.starts_with("ipv6=");
    if (is_valid || is_family) {
      const std::string_view value = text.substr(is_valid ? 6 : 5);
      const bool ok =
          is_valid ? conf::parse_seconds(value).has_value() : value == "on" || value == "off";
      if (!ok) {
        compiler.error(statement, "invalid parameter: " + std::string(text), {}, &word);
        return false;
      }
      if (is_family) (text.starts_with("ipv4=") ? ipv4 : ipv6) = value == "on";
    } else {
      const conf::Url url = conf::parse_url(compiler.world(), text, {.default_port = 53});
      if (!url.ok()) {
        compiler.error(statement, url.problem + " in resolver \"" + std::string(text) + "\"", {},
                       &word);
        return false;
      }
      for (const conf::SocketAddress& address : url.addresses) {
        words.push_back(net::Address::from_bytes(address.bytes).text());
      }
      system = false;
      continue;
    }
    words.emplace_back(text);
  }
  if (!ipv4 && !ipv6) {
    compiler.error(statement, "\"ipv4\" and \"ipv6\" cannot both be \"off\"");
    return false;
  }
  if (system) words.emplace_back(upstream::Resolver::kSystem);
  return true;
}

}  // namespace weir::shared
