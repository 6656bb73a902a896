-- All members of a group on this server.

local readers = KEYS[1]    -- zset, of the group → milliseconds of the clock when they expire
local presences = ARGV[1]  -- prefix of a reader's presence (string)
local members = ARGV[2]    -- prefix of the members of this group in one process (zset)

local channels = {}
for _, reader in ipairs(redis.call('ZRANGEBYSCORE', readers, ms, '+inf')) do
    if string.sub(reader, -1) ~= '!' then
        channels[#channels + 1] = reader
    elseif redis.call('EXISTS', presences .. reader) == 1 then
        for _, member in ipairs(redis.call('ZRANGEBYSCORE', members .. reader, ms, '+inf')) do
            channels[#channels + 1] = reader .. member
        end
    end
end
return channels
