-- Push frames onto queues, as many as their capacity allows.
--
-- KEYS, from the second on in pairs: the queue of a reader (list; its elements are 8 bytes of expiry time, then the
-- frame), and its statistics (hash: sent, full, since).
-- ARGV, from the third on, per queue: its capacity, the count of frames for it, the frames.
--
-- Returns false if everything was stored, else for each queue how many of its frames were refused.

local all_statistics = KEYS[1]  -- hash, of the whole layer
local lifetime = ARGV[1]        -- milliseconds a message lives
local statistics_ms = ARGV[2]   -- lifetime of a reader's statistics, see account

local stamp = stamp_of(lifetime)
local refused = {}
local sent, full = 0, 0
local at = 3
for i = 2, #KEYS, 2 do
    local queue, statistics = KEYS[i], KEYS[i + 1]
    local capacity, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local length
    -- All at once, and what is too much comes off again: nobody sees it meanwhile. Lua unpacks some 8,000 at most.
    for first = 1, count, 1000 do
        local frames = {}
        for n = first, math.min(count, first + 999) do
            frames[#frames + 1] = stamp .. ARGV[at + 1 + n]
        end
        length = redis.call('RPUSH', queue, unpack(frames))
    end
    local take = count - math.min(count, make_room(queue, length - capacity))
    if take < count then
        redis.call('RPOP', queue, count - take)
    end
    if take > 0 then
        keep(queue, length == count, lifetime)
    end
    -- As account does it, in place: calls of it make a push of one frame a thirtieth dearer.
    if take > 0 and redis.call('HINCRBY', statistics, 'sent', take) == take then
        redis.call('HSETNX', statistics, 'since', now[1])
        redis.call('PEXPIRE', statistics, statistics_ms)
    end
    if take < count then
        redis.call('HINCRBY', statistics, 'full', count - take)
        redis.call('PEXPIRE', statistics, statistics_ms)
    end
    refused[#refused + 1] = count - take
    sent, full = sent + take, full + count - take
    at = at + 2 + count
end
if redis.call('HINCRBY', all_statistics, 'sent', sent) == sent then
    redis.call('HSETNX', all_statistics, 'since', now[1])
end
if full == 0 then
    return false
end
redis.call('HINCRBY', all_statistics, 'full', full)
return refused
