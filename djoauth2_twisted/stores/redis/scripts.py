"""The Lua scripts, each one atomic step. What clients send is never part of a script or a pattern.

Keys, after the prefix: ``g:`` a grant by its id, as JSON; ``c:`` a grant's id by its code, and ``f:``
by its family of refresh tokens; ``a:`` an access token; ``r:`` a pair of tokens by its refresh token;
``y:`` the pair that was issued for a refresh token, with its answer, for a moment. The sorted sets of
grants, by creation: ``u:`` of a user, ``k:`` of a client, ``all``; by last use: ``p:`` of a user with a
client; and ``x``, by expiry, of a grant with its user and client. Codes, tokens and names stand there
as digests.

Of grants that were made before there were families, ``r:`` has used pairs, too, and ``t:`` is a sorted
set of the keys of what was used, by the time until which they are kept.

No script looks at more than some hundred entries: meanwhile Redis answers nobody.
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

#: Forgets a grant with all that belongs to it. Used pairs without a grant are worth nothing, and Redis
#: forgets them itself. With a channel its end is published there: first, so that nothing is half-done
#: where that is forbidden.
_END = """
local function leave(prefix, entry)
  local user, client, id = string.match(entry, '(%S+) (%S+) (.*)')
  redis.call('ZREM', prefix .. 'u:' .. user, id)
  redis.call('ZREM', prefix .. 'k:' .. client, id)
  redis.call('ZREM', prefix .. 'p:' .. user .. client, id)
  redis.call('ZREM', prefix .. 'all', id)
  redis.call('ZREM', prefix .. 'x', entry)
  return id
end
local function finish(prefix, id, channel)
  local text = redis.call('GET', prefix .. 'g:' .. id)
  if not text then return false end
  if channel then redis.call('PUBLISH', channel, id) end
  local grant = cjson.decode(text)
  redis.call('DEL', prefix .. 'g:' .. id, prefix .. 'c:' .. grant.code_digest)
  local own = {['r:'] = grant.live, ['a:'] = grant.access, ['f:'] = grant.family_digest}
  for kind, name in pairs(own) do
    if name ~= cjson.null then redis.call('DEL', prefix .. kind .. name) end
  end
  redis.call('UNLINK', prefix .. 't:' .. id)
  leave(prefix, grant.entry)
  return text
end
"""

#: A code's grant. KEYS: the code, the family that is to be. ARGV: prefix. Returns the time, the grant,
#: and the id of the one that has the family.
FIND_CODE = (
    _TIME
    + """
local id = redis.call('GET', KEYS[1])
local grant = id and redis.call('GET', ARGV[1] .. 'g:' .. id)
return {now(), grant, redis.call('GET', KEYS[2])}
"""
)

#: A refresh token's pair. KEYS: the pair, the one that was issued for it, the family. ARGV: prefix.
#: Returns the time, the grant of the pair or else of the family, the id of the one that has the family,
#: the pair, and the one that was issued for it.
FIND_PAIR = (
    _TIME
    + """
local pair, owner = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local id = owner
if pair then id = cjson.decode(pair).grant_id end
local grant = id and redis.call('GET', ARGV[1] .. 'g:' .. id)
return {now(), grant, owner, pair, redis.call('GET', KEYS[2])}
"""
)

#: An access token and its grant. ARGV: prefix.
FIND_ACCESS_TOKEN = """
local token = redis.call('GET', KEYS[1])
if not token then return {} end
return {token, redis.call('GET', ARGV[1] .. 'g:' .. cjson.decode(token).grant_id)}
"""

#: Writes, if nothing has changed since it was read, and it is not too late for whoever asked. Then keeps
#: codes and tokens that were used before there were families as long as their grant, which lives longer
#: with each refresh: one lifetime more than needed, so that each has its turn but once in a lifetime.
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

#: Adds a grant, and makes room for it among those of its user with its client. KEYS: the grant, the set
#: of those. ARGV: the latest time, the commands as JSON, prefix, channel, how many there may be, and how
#: many are ended at once. Returns those that were ended.
ADD_CODE = (
    _TIME
    + _END
    + """
if now() > tonumber(ARGV[1]) then return 'late' end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
local ended = {}
local beyond = math.min(redis.call('ZCARD', KEYS[2]) + 1 - ARGV[5], tonumber(ARGV[6]))
if beyond > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, beyond - 1)) do
    if finish(ARGV[3], id, ARGV[4]) then ended[#ended + 1] = id end
    redis.call('ZREM', KEYS[2], id)
  end
end
for _, command in ipairs(cjson.decode(ARGV[2])) do redis.call(unpack(command)) end
return ended
"""
)

#: Ends a grant. ARGV: prefix, id, channel.
END = _END + "return finish(ARGV[1], ARGV[2], ARGV[3])"

#: Ends a token of a client. KEYS: as an access token, as a refresh token, the family it would be of.
#: ARGV: prefix, client, channel.
REVOKE = (
    _END
    + """
local access = redis.call('GET', KEYS[1])
local token = access or redis.call('GET', KEYS[2])
local id = token and cjson.decode(token).grant_id or redis.call('GET', KEYS[3])
if not id then return false end
local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
if not grant or cjson.decode(grant).client_id ~= ARGV[2] then return false end
redis.call('PUBLISH', ARGV[3], id)
if access then redis.call('DEL', KEYS[1]) else finish(ARGV[1], id) end
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

#: Grants of a part of a sorted set that are there, so many at most. KEYS: the set. ARGV: prefix, the
#: wanted as JSON, the first and last place, how many. Returns at how many it looked before the grants.
LIST = (
    _FITS
    + """
local found = {0}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[3], ARGV[4])) do
  found[1] = found[1] + 1
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if grant and fits(cjson.decode(grant)) then found[#found + 1] = grant end
  if #found > tonumber(ARGV[5]) then break end
end
return found
"""
)

#: The clients of the grants of a part of a sorted set that are there. KEYS: the set. ARGV: prefix, the
#: first and last place.
CLIENTS = """
local seen, found = {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
  local text = redis.call('GET', ARGV[1] .. 'g:' .. id)
  local client = text and cjson.decode(text).client_id
  if client and not seen[client] then
    seen[client] = true
    found[#found + 1] = client
  end
end
return found
"""

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

#: Ends codes and refresh tokens of a part of a user's grants. KEYS: the user's set. ARGV: prefix, the
#: first and last place, channel. What the JSON says last counts: cjson would not write it as it was.
END_REFRESH_TOKENS = (
    _END
    + """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
  local key = ARGV[1] .. 'g:' .. id
  local text = redis.call('GET', key)
  local grant = text and cjson.decode(text)
  if grant and not grant.code_used then finish(ARGV[1], id, ARGV[4])
  elseif grant and grant.refresh_ended ~= true then
    redis.call('SET', key, string.sub(text, 1, -2) .. ', "refresh_ended": true}', 'KEEPTTL')
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
  finish(ARGV[1], leave(ARGV[1], entry))
end
return #over
"""
)
