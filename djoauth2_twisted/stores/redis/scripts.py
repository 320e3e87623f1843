"""The Lua scripts, each one atomic step. What clients send is never part of a script or a pattern.

Keys, after the prefix: ``g:`` a grant by its id, as JSON; ``c:`` a grant's id by its code; ``a:`` an
access token; ``r:`` a pair of tokens by its refresh token; ``t:`` what else belongs to a grant, a
sorted set of keys by the time until which they are kept; and the sorted sets of grants, by creation:
``u:`` of a user, ``k:`` of a client, ``all``; and ``x``, by expiry, of a grant with its user and
client. Codes, tokens and names stand there as digests.
"""

from __future__ import annotations

#: The server's time, in milliseconds.
_TIME = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

#: The server's time, for who has read nothing.
NOW = _TIME + "return now()"

#: Forgets a grant with all that belongs to it. Access tokens without a grant are worth nothing. With
#: a channel their end is published there: first, so that nothing is half-done where that is forbidden.
_END = """
local function finish(prefix, id, channel)
  local text = redis.call('GET', prefix .. 'g:' .. id)
  if not text then return false end
  if channel then redis.call('PUBLISH', channel, id) end
  local grant = cjson.decode(text)
  local belongings = redis.call('ZRANGE', prefix .. 't:' .. id, 0, -1)
  for _, key in ipairs(belongings) do redis.call('DEL', key) end
  redis.call('DEL', prefix .. 'g:' .. id, prefix .. 't:' .. id)
  local user, client = string.match(grant.entry, '(%S+) (%S+)')
  redis.call('ZREM', prefix .. 'u:' .. user, id)
  redis.call('ZREM', prefix .. 'k:' .. client, id)
  redis.call('ZREM', prefix .. 'all', id)
  redis.call('ZREM', prefix .. 'x', grant.entry)
  return text
end
"""

#: A code's grant. ARGV: prefix. Returns the time, the grant's id and the grant.
FIND_CODE = (
    _TIME
    + """
local id = redis.call('GET', KEYS[1])
if not id then return {now()} end
return {now(), id, redis.call('GET', ARGV[1] .. 'g:' .. id)}
"""
)

#: A refresh token's pair. ARGV: prefix. Returns the time, the pair, its grant, and the live pair.
FIND_PAIR = (
    _TIME
    + """
local pair = redis.call('GET', KEYS[1])
if not pair then return {now()} end
local grant = redis.call('GET', ARGV[1] .. 'g:' .. cjson.decode(pair).grant_id)
if not grant then return {now(), pair} end
local live = cjson.decode(grant).live
if live == cjson.null then return {now(), pair, grant} end
return {now(), pair, grant, redis.call('GET', ARGV[1] .. 'r:' .. live)}
"""
)

#: An access token and its grant. ARGV: prefix.
FIND_ACCESS_TOKEN = """
local token = redis.call('GET', KEYS[1])
if not token then return {} end
return {token, redis.call('GET', ARGV[1] .. 'g:' .. cjson.decode(token).grant_id)}
"""

#: Writes, if nothing has changed since it was read, and it is not too late for whoever asked. Then keeps
#: used codes and tokens as long as their grant, which lives longer with each refresh: for one lifetime
#: more than needed, so that each has its turn but once in a lifetime.
#: KEYS: what must be as it was. ARGV: the latest time, the commands as JSON, what is to be kept as JSON,
#: then for each key its value, or an empty string where there was none.
COMMIT = (
    _TIME
    + """
if now() > tonumber(ARGV[1]) then return 'late' end
for place, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[place + 3] then return 'changed' end
end
for _, command in ipairs(cjson.decode(ARGV[2])) do redis.call(unpack(command)) end
local keep = cjson.decode(ARGV[3])
local due = redis.call('ZRANGE', keep.set, '-inf', keep.needed, 'BYSCORE', 'LIMIT', 0, 100)
for _, key in ipairs(due) do
  redis.call('PEXPIRE', key, keep.milliseconds)
  redis.call('ZADD', keep.set, keep.kept, key)
end
redis.call('PEXPIRE', keep.set, keep.milliseconds)
return 'done'
"""
)

#: Ends a grant. ARGV: prefix, id, channel.
END = _END + "return finish(ARGV[1], ARGV[2], ARGV[3])"

#: Ends a token of a client. KEYS: as an access token, as a refresh token. ARGV: prefix, client, channel.
REVOKE = (
    _END
    + """
local token = redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[2])
if not token then return false end
local id = cjson.decode(token).grant_id
local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
if not grant or cjson.decode(grant).client_id ~= ARGV[2] then return false end
redis.call('PUBLISH', ARGV[3], id)
if redis.call('DEL', KEYS[1]) == 0 then finish(ARGV[1], id) end
return grant
"""
)

#: Whether a grant is one of those that are wanted: of a client, with a scope, where these are said.
_FITS = """
local wanted = cjson.decode(ARGV[2])
local function fits(grant)
  local client = string.match(grant.entry, '%S+ (%S+)')
  if wanted.client ~= cjson.null and client ~= wanted.client then return false end
  if wanted.scope == cjson.null then return true end
  for _, scope in ipairs(grant.scopes) do if scope == wanted.scope then return true end end
  return false
end
"""

#: Grants of a sorted set that are there. KEYS: the set. ARGV: prefix, the wanted as JSON, offset, size.
#: Where all are wanted, those before the offset are not looked at; so what Redis has forgotten itself
#: counts until it is pruned, and a page may begin with the end of the one before.
LIST = (
    _FITS
    + """
local found, skip, place = {}, tonumber(ARGV[3]), 0
if wanted.client == cjson.null then skip, place = 0, skip end
while true do
  local ids = redis.call('ZRANGE', KEYS[1], place, place + 99)
  for _, id in ipairs(ids) do
    local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
    if grant and fits(cjson.decode(grant)) then
      if skip > 0 then skip = skip - 1 else table.insert(found, grant) end
      if #found >= tonumber(ARGV[4]) then return found end
    end
  end
  if #ids < 100 then return found end
  place = place + 100
end
"""
)

#: Counts grants of a part of a sorted set that are there. KEYS: the set. ARGV: prefix, the wanted as
#: JSON, the first and last place.
COUNT = (
    _FITS
    + """
local count = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[3], ARGV[4])) do
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if grant and fits(cjson.decode(grant)) then count = count + 1 end
end
return count
"""
)

#: How many grants a sorted set has, some of which may be over. KEYS: the set.
SIZE = "return redis.call('ZCARD', KEYS[1])"

#: A grant. ARGV: prefix, id.
FIND_GRANT = "return redis.call('GET', ARGV[1] .. 'g:' .. ARGV[2])"

#: Ends grants of a part of a sorted set, and says which. KEYS: the set. ARGV: prefix, the wanted as
#: JSON, the first and last place, channel.
END_SOME = (
    _END
    + _FITS
    + """
local ended = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[3], ARGV[4])) do
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if grant and fits(cjson.decode(grant)) then
    finish(ARGV[1], id, ARGV[5])
    ended[#ended + 1] = id
  end
end
return ended
"""
)

#: Ends codes and refresh tokens of a user. KEYS: the user's set. ARGV: prefix.
END_REFRESH_TOKENS = (
    _END
    + """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local text = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if text then
    local grant = cjson.decode(text)
    if not grant.code_used then finish(ARGV[1], id)
    elseif grant.live ~= cjson.null then redis.call('DEL', ARGV[1] .. 'r:' .. grant.live) end
  end
end
"""
)

#: Forgets grants that are over, in the sets as well, where Redis has forgotten them itself.
#: KEYS: ``x``. ARGV: prefix, now, how many.
PRUNE = (
    _END
    + """
local over = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, entry in ipairs(over) do
  local user, client, id = string.match(entry, '(%S+) (%S+) (.*)')
  finish(ARGV[1], id)
  redis.call('ZREM', ARGV[1] .. 'u:' .. user, id)
  redis.call('ZREM', ARGV[1] .. 'k:' .. client, id)
  redis.call('ZREM', ARGV[1] .. 'all', id)
  redis.call('ZREM', KEYS[1], entry)
end
return #over
"""
)
